"""
One HTTP exchange with a gateway or a pinning service: no redirects, no packed bodies, a limit on what is read.

The time limit is the store's. A session for each exchange: one that hangs takes no connection from the others, nor from
``ctx.http``.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from listener.errors import ProofError, ProofNotFound, ProofUnavailable
from listener.proofs.source import Passing

ANSWER_BYTES = 64 * 1024  # of an answer that is no content
_SAID = 200  # characters of a service's own words


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read whole."""

    status: int
    body: bytes


async def exchange(  # noqa: PLR0913 - what an exchange is made of
    method: str,
    url: URL,
    shown: str,
    *,
    limit_bytes: int = ANSWER_BYTES,
    headers: Mapping[str, str] | None = None,
    data: Any = None,
) -> Answer:
    """
    Make one exchange.

    Args:
        method: GET or POST.
        url: whole.
        shown: names the other side without secrets.
        limit_bytes: of a successful answer's body.
        headers: beside our own.
        data: what is sent.

    Raises:
        ProofNotFound: the body is larger than ``limit_bytes``.
        ProofUnavailable: there was no whole answer, or it said "not now".
    """
    sent = {"Accept-Encoding": "identity", **(headers or {})}
    async with (
        _session(shown) as session,
        session.request(method, url, headers=sent, data=data, allow_redirects=False, auto_decompress=False) as answer,
    ):
        status = answer.status
        if status == 429 or (status >= 500 and method == "GET"):
            raise Passing(f"{shown}: HTTP {status}")
        if 300 <= status < 400:
            raise ProofUnavailable(f"{shown}: HTTP {status}, and redirects are not followed; name the place itself")
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ProofUnavailable(f"{shown}: the answer is packed, though it was asked not to")
        limit = limit_bytes if status == 200 else ANSWER_BYTES
        body = bytearray()
        async for piece in answer.content.iter_any():
            body += piece
            if len(body) > limit:
                raise ProofNotFound(f"{shown}: its content is larger than {limit} bytes")
        return Answer(status, bytes(body))


def refusal(answer: Answer, shown: str) -> ProofError:
    """Say why a service did not keep a proof; what is its own fault may pass."""
    said = " ".join(answer.body.decode(errors="replace").split())[:_SAID]
    text = f"{shown}: HTTP {answer.status}: {said}"
    if answer.status in (401, 403):
        return ProofError(f"{text}; look at token, key and secret in [proofs]")
    return Passing(text) if answer.status >= 500 else ProofError(text)


@asynccontextmanager
async def _session(shown: str) -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=None)
    try:
        async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
            yield session
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        # Its text may hold the URL, and the URL a credential: only its kind is told.
        raise Passing(f"{shown}: no whole answer: {_kind(error)}") from error


def _kind(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.strerror or "no connection"
    return type(error).__name__
