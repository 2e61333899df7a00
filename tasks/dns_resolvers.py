"""
Asks several DNS resolvers the same, and takes what most of them say. For tasks that ask for TXT records.

A resolver that does not answer says nothing: a name is absent only where a resolver says so.
"""

import asyncio
import ipaddress
import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeVar

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver
from pydantic import BaseModel, ConfigDict, Field

LONGEST_ANSWER = 16 * 1024  # bytes of all texts of one name; longer ones are no answer
HOPS = 8  # of aliases that a resolver leaves to us
PAYLOAD = 1232  # bytes that an answer by UDP may have; longer ones come by TCP
SaidT = TypeVar("SaidT")


class NoAgreement(Exception):
    """Too few resolvers say the same: there is nothing that may be signed or judged by."""


class Answer(BaseModel):
    """What one resolver said of a name; texts are the bytes of each TXT record, read as Latin-1."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    resolver: str = Field(max_length=64)
    status: Literal["NOERROR", "NODATA", "NXDOMAIN", "NONE"]  # NONE: it did not answer
    texts: list[str] = Field(max_length=1024)


async def ask(name: str, resolvers: Sequence[str], timeout_s: float) -> list[Answer]:
    """Ask all resolvers at once for a name's TXT records; each has so many seconds."""
    return list(await asyncio.gather(*(_ask(each, name, timeout_s) for each in resolvers)))


async def _ask(resolver: str, name: str, timeout_s: float) -> Answer:
    asked = dns.asyncresolver.Resolver(configure=False)
    address, asked.port = place(resolver)
    asked.nameservers = [address]
    asked.use_edns(0, 0, PAYLOAD)
    status: Literal["NOERROR", "NODATA", "NXDOMAIN", "NONE"]
    try:
        async with asyncio.timeout(timeout_s):
            texts = await _texts(asked, dns.name.from_text(name), timeout_s)
        status = "NOERROR" if texts else "NODATA"
    except dns.resolver.NXDOMAIN:
        status, texts = "NXDOMAIN", []
    except (dns.exception.DNSException, OSError, EOFError, TimeoutError):  # refused, failed, silent, or nonsense
        status, texts = "NONE", []
    if sum(map(len, texts)) > LONGEST_ANSWER:
        status, texts = "NONE", []
    return Answer(resolver=resolver, status=status, texts=texts)


async def _texts(asked: dns.asyncresolver.Resolver, name: dns.name.Name, timeout_s: float) -> list[str]:
    """Return a name's texts in one order; chunks of a text are joined without anything between (RFC 7208 3.3)."""
    for _ in range(HOPS):
        answer = await asked.resolve(name, "TXT", lifetime=timeout_s, search=False, raise_on_no_answer=False)
        if answer.rrset is not None:
            return sorted({b"".join(each.strings).decode("latin-1") for each in answer.rrset})
        if answer.canonical_name == name:
            return []
        name = answer.canonical_name  # the resolver gave an alias and left the rest to us
    raise dns.resolver.NoAnswer  # an alias leads to an alias without end


def place(resolver: str) -> tuple[str, int]:
    """
    Read ``9.9.9.9``, ``127.0.0.1:5353``, ``2620:fe::fe`` or ``[::1]:5353``.

    Raises:
        ValueError: it is none of these; a resolver's name would need a resolver.
    """
    host, port = resolver, "53"
    if bracketed := re.fullmatch(r"\[(.+)\]:([0-9]{1,5})", resolver) or re.fullmatch(r"([^:]+):([0-9]{1,5})", resolver):
        host, port = bracketed[1], bracketed[2]
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        raise ValueError(f"{resolver} is no resolver: write its IP address, with :PORT or [ADDRESS]:PORT") from None
    if not 0 < int(port) < 2**16:
        raise ValueError(f"{resolver} has no port of 1 to 65535")
    return address, int(port)


def settle(said: Sequence[SaidT | None], agree: int) -> SaidT:
    """
    Take what most resolvers say; None is a resolver that says nothing.

    Raises:
        NoAgreement: fewer than ``agree`` say the same, or no more than half of all.
    """
    voices = Counter([each for each in said if each is not None])
    for each, count in voices.items():
        if count >= agree and 2 * count > len(said):
            return each
    most = max(voices.values(), default=0)
    raise NoAgreement(f"{most} of {len(said)} resolvers say the same, {said.count(None)} nothing; agree is {agree}")
