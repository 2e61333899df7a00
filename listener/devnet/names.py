"""
A local DNS server, on loopback over UDP and TCP, for the task that asks for names.

It answers for its zones alone, and refuses all other names. It can lie, fail, and say nothing.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdtypes.ANY.TXT import TXT

HOST = "127.0.0.1"
TTL = 60  # seconds
PLAIN = 512  # bytes that an answer by UDP may have where the question does not say
CHUNK = 255  # bytes of a text in one string
HOPS = 8  # of aliases in one answer
Zones = dict[str, dict[str, dict[str, list[str]]]]  # by zone, name in it ("" is the zone itself) and type


class Names:
    """
    Answers on loopback; use it as an async context manager.

    Args:
        zones: ``{"example.test": {"_avs-challenge": {"TXT": ["…"]}}}``; may be changed while it runs. Texts are cut
            into chunks by the server, other types are in the form of zone files, with whole names.

    ``fails`` gives names, in lower case and without the last dot, the code of an error (``"SERVFAIL"``); ``silent``
    answers nothing. ``asked`` counts questions by "udp" and "tcp".
    """

    def __init__(self, zones: Zones | None = None, *, port: int = 0) -> None:
        self.zones: Zones = {} if zones is None else zones
        self.port = port
        self.fails: dict[str, str] = {}
        self.silent = False
        self.asked = {"udp": 0, "tcp": 0}
        self._server: asyncio.Server | None = None
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def resolver(self) -> str:
        """Where it answers, as the task's settings have it."""
        return f"{HOST}:{self.port}"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._stream, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        # Another process may hold the port for UDP: that is an error, not a reason to answer by TCP alone.
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self._datagram), (HOST, self.port), family=socket.AF_INET
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        await asyncio.sleep(0)  # the transport closes in the loop's next turn

    def _datagram(self, wire: bytes) -> bytes | None:
        self.asked["udp"] += 1
        return self._answer(wire, by_tcp=False)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            wire = await reader.readexactly(length)
            self.asked["tcp"] += 1
            answer = self._answer(wire, by_tcp=True)
            if answer is not None:
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    def _answer(self, wire: bytes, *, by_tcp: bool) -> bytes | None:
        try:
            query = dns.message.from_wire(wire)
            response = dns.message.make_response(query, recursion_available=True)
        except dns.exception.DNSException:
            return None
        if self.silent or len(query.question) != 1:
            return None
        self._fill(response, query.question[0].name, query.question[0].rdtype)
        room = 65535 if by_tcp else max(query.payload, PLAIN)
        with contextlib.suppress(dns.exception.TooBig):
            return response.to_wire(max_size=room)
        response.answer.clear()
        response.flags |= dns.flags.TC
        return response.to_wire()

    def _fill(self, response: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> None:
        for _ in range(HOPS):
            text = name.to_text(omit_final_dot=True).lower()
            if text in self.fails:
                response.set_rcode(dns.rcode.from_text(self.fails[text]))
                return
            records = self._records(text)
            if isinstance(records, dns.rcode.Rcode):
                response.set_rcode(records)
                return
            wanted = dns.rdatatype.to_text(kind)
            found = wanted if wanted in records else "CNAME"
            if found in records:
                response.answer.append(_rrset(name, found, records[found]))
            if found == wanted or "CNAME" not in records:
                return
            name = dns.name.from_text(records["CNAME"][0])

    def _records(self, name: str) -> dict[str, list[str]] | dns.rcode.Rcode:
        """Return what a name has by type; a code where it is not there, or not ours."""
        for origin, names in self.zones.items():
            if name == origin or name.endswith(f".{origin}"):
                inner = name.removesuffix(origin).removesuffix(".")
                if inner in names:
                    return names[inner]
                between = not inner or any(each.endswith(f".{inner}") for each in names)
                return {} if between else dns.rcode.NXDOMAIN
        return dns.rcode.REFUSED


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self._answer = answer
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._answer(data)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


def _rrset(name: dns.name.Name, kind: str, values: list[str]) -> dns.rrset.RRset:
    if kind != "TXT":
        return dns.rrset.from_text(name, TTL, "IN", kind, *values)
    texts = []
    for value in values:
        whole = value.encode("latin-1")
        chunks = [whole[start : start + CHUNK] for start in range(0, len(whole), CHUNK)] or [b""]
        texts.append(TXT(dns.rdataclass.IN, dns.rdatatype.TXT, chunks))
    return dns.rrset.from_rdata_list(name, TTL, texts)
