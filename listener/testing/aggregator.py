"""
A fake aggregator on a real socket: it takes tasks as the contract would, and misbehaves when told to.

The checks are those of the local network's aggregator, which shares no code with the daemon. What goes wrong is a
``Fault``: ``aggregator.faults`` is used up call by call, ``aggregator.always`` applies to every other one.
"""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from aiohttp import web

from listener.devnet.aggregator import Aggregator
from listener.devnet.attestation import REVERTED

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for 0 seconds: closing sends RST


@dataclass(frozen=True, slots=True)
class Fault:
    """
    One way of answering wrongly.

    ``takes`` says whether the task is looked at, and taken, all the same: then the answer alone is lost. What is done
    after ``pause_s`` is ``ending``; "answer" gives ``status`` and ``body``, or the true answer where there is no body.
    """

    takes: bool = False
    pause_s: float = 0
    ending: Literal["answer", "close", "reset", "hang"] = "answer"
    status: int = 200
    body: bytes | None = None

    @classmethod
    def slow(cls, pause_s: float) -> "Fault":
        """Take it, and answer late."""
        return cls(takes=True, pause_s=pause_s)

    @classmethod
    def lost(cls, ending: Literal["close", "reset", "hang"] = "reset") -> "Fault":
        """Take it; the answer never arrives."""
        return cls(takes=True, ending=ending)

    @classmethod
    def cut(cls, ending: Literal["close", "reset"] = "reset") -> "Fault":
        """End the connection without looking at it."""
        return cls(ending=ending)

    @classmethod
    def hang(cls) -> "Fault":
        """Answer nothing, and take nothing."""
        return cls(ending="hang")

    @classmethod
    def answered(cls, status: int, body: bytes = b"") -> "Fault":
        """Give any HTTP answer: a 500, a 413, bytes that mean nothing."""
        return cls(status=status, body=body)

    @classmethod
    def html(cls, status: int = 200) -> "Fault":
        """Give the page of a proxy that stands in front."""
        return cls.answered(status, b"<html><body><h1>Bad gateway</h1></body></html>")

    @classmethod
    def error(cls, code: int, message: str, *, data: Any = None, status: int = 200) -> "Fault":
        """Give a JSON-RPC error, as usual in an answer of status 200."""
        fault = {"code": code, "message": message} | ({} if data is None else {"data": data})
        return cls.answered(status, orjson.dumps({"jsonrpc": "2.0", "id": 1, "error": fault}))

    @classmethod
    def behind(cls) -> "Fault":
        """Say that the block of the task is not known yet."""
        return cls.error(REVERTED, "header not found")

    @classmethod
    def known(cls) -> "Fault":
        """Say that somebody sent the same before."""
        return cls.error(REVERTED, "MessageAlreadySigned: 0x00 was accepted before")


@dataclass(frozen=True, slots=True)
class Sent:
    """One ``sendTask`` as it arrived, whatever it was answered."""

    proof_of_task: str
    params: bytes  # as JSON, each byte of them


class FakeAggregator(Aggregator):
    """
    One aggregator; use it as an async context manager.

    ``close()`` is the one that is down, ``start()`` the same one up again, on its port. ``accepted`` and ``refused``
    hold what was taken and what was not, ``sent`` each call as it came.
    """

    def __init__(self, *, port: int = 0, chain_id: int = 31337) -> None:
        super().__init__(port=port, chain_id=chain_id)
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.sent: list[Sent] = []
        self._later: dict[int, Fault] = {}  # by request, until it was taken
        self._hanging: set[asyncio.Event] = set()
        self.before = self._before
        self.after = self._after

    async def close(self) -> None:
        """Stop listening and cut open connections, also those that wait for an answer."""
        for waiting in self._hanging:
            waiting.set()
        await super().close()

    def differing(self) -> dict[str, set[bytes]]:
        """Return the proofs that came with more than one payload; there must be none."""
        found: dict[str, set[bytes]] = {}
        for call in self.sent:
            found.setdefault(call.proof_of_task, set()).add(call.params)
        return {proof: payloads for proof, payloads in found.items() if len(payloads) > 1}

    async def _before(self, request: web.BaseRequest) -> web.Response | None:
        self._remember(await request.read())
        fault = self.faults.popleft() if self.faults else self.always
        if fault is None:
            return None
        if fault.takes:
            self._later[id(request)] = fault
            return None
        return await self._end(request, fault)

    async def _after(self, request: web.BaseRequest) -> web.Response | None:
        fault = self._later.pop(id(request), None)
        return None if fault is None else await self._end(request, fault)

    async def _end(self, request: web.BaseRequest, fault: Fault) -> web.Response | None:
        await asyncio.sleep(fault.pause_s)
        if fault.ending == "answer":
            return None if fault.body is None else web.Response(status=fault.status, body=fault.body)
        if fault.ending == "hang":
            await self._hang()
        transport = request.transport
        if transport is not None:
            connection = transport.get_extra_info("socket")
            if fault.ending == "reset" and connection is not None:
                with contextlib.suppress(OSError):  # it is closed already
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()
        return web.Response()  # nobody is there to read it

    async def _hang(self) -> None:
        waiting = asyncio.Event()
        self._hanging.add(waiting)
        try:
            await waiting.wait()
        finally:
            self._hanging.discard(waiting)

    def _remember(self, body: bytes) -> None:
        try:
            message = orjson.loads(body)
        except orjson.JSONDecodeError:
            return
        for call in message if isinstance(message, list) else [message]:
            params = call.get("params") if isinstance(call, dict) and call.get("method") == "sendTask" else None
            if isinstance(params, list) and params:
                self.sent.append(Sent(str(params[0]), orjson.dumps(params)))
