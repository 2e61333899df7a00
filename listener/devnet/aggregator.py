"""
A local aggregator: ``sendTask`` as JSON-RPC over HTTP, checked as the contract would, each digest taken once.

It keeps what it accepted and refused, for whoever counts from outside. What it accepted it gives to ``gossip``, where
there are attesters.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import orjson
from aiohttp import web

from listener.devnet.attestation import REVERTED, Call, RpcError, check_signature, parse

if TYPE_CHECKING:
    from listener.devnet.gossip import Gossip

HOST = "127.0.0.1"
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601

Hook = Callable[[web.BaseRequest], Awaitable[web.Response | None]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A ``sendTask`` that was answered with an error."""

    params: Any
    code: int
    message: str
    received_at: float  # Unix seconds


class Aggregator:
    """
    One aggregator; use it as an async context manager.

    ``delay_s`` passes before every answer. Two hooks misbehave on purpose, and may be set at any time: what ``before``
    returns is answered without looking at the request, what ``after`` returns in the place of the true answer.
    """

    def __init__(self, *, port: int = 0, chain_id: int = 31337, delay_s: float = 0) -> None:
        self.port = port  # 0 until started takes a free one
        self.chain_id = chain_id
        self.delay_s = delay_s
        self.before: Hook | None = None
        self.after: Hook | None = None
        self.accepted: list[Call] = []
        self.refused: list[Refusal] = []
        self.gossip: Gossip | None = None  # None: there are no attesters
        self._digests: set[bytes] = set()
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen, on the same port as before when it was closed; what was accepted is kept."""
        # The low-level server: routing and middlewares would cost as much as recovering a signature.
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port).start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening and cut open connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method != "POST":
            return web.Response(status=405, text="POST a JSON-RPC request")
        body = await request.read()
        if self.before is not None and (response := await self.before(request)) is not None:
            return response
        reply = self._reply(body)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.after is not None and (response := await self.after(request)) is not None:
            return response
        if reply is None:
            return web.Response(status=204)  # notifications alone: no reply is owed
        return web.Response(body=orjson.dumps(reply), content_type="application/json")

    def _reply(self, body: bytes) -> Any:
        try:
            message = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            return _error(None, PARSE_ERROR, f"not JSON: {error}")
        if not isinstance(message, list):
            return self._handle(message)
        if not message:
            return _error(None, INVALID_REQUEST, "the batch is empty")
        return [reply for request in message if (reply := self._handle(request)) is not None] or None

    def _handle(self, request: Any) -> dict[str, Any] | None:
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            return _error(None, INVALID_REQUEST, "not a JSON-RPC request")
        identity = request.get("id")
        try:
            reply = {"jsonrpc": "2.0", "id": identity, "result": self._call(request["method"], request.get("params"))}
        except RpcError as error:
            reply = _error(identity, error.code, str(error))
        return reply if "id" in request else None

    def _call(self, method: str, params: Any) -> Any:
        if method == "sendTask":
            return self._send_task(params)
        if method == "eth_chainId":
            return hex(self.chain_id)
        if method == "net_version":
            return str(self.chain_id)
        raise RpcError(METHOD_NOT_FOUND, f"the method {method} does not exist; there are sendTask and eth_chainId")

    def _send_task(self, params: Any) -> bool:
        now = time.time()
        try:
            self._accept(parse(params, now))
        except RpcError as error:
            self.refused.append(Refusal(params, error.code, str(error), now))
            raise
        return True

    def _accept(self, call: Call) -> None:
        if call.digest in self._digests:  # the contract looks here before it looks at the signature
            raise RpcError(REVERTED, f"MessageAlreadySigned: 0x{call.digest.hex()} was accepted before")
        check_signature(call)
        self._digests.add(call.digest)
        self.accepted.append(call)
        if self.gossip is not None:
            self.gossip.spread(call)


def _error(identity: Any, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "error": {"code": code, "message": message}}
