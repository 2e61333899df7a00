"""
A fake node on a real socket: JSON-RPC over HTTP and websocket on one port, for a scripted chain.

It answers what a follower asks, and misbehaves when told to: connections that close, break or fall silent, frames that
nobody asked for, heads that jump. For answers that are wrong, set ``before`` and ``after``; see ``faults.py``.
"""

import asyncio
import contextlib
import socket
import struct
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import WSMsgType, web

from listener.testing.chain import ScriptedBlock, ScriptedChain
from listener.testing.faults import After, Before, HttpAnswer, NodeError

HOST = "127.0.0.1"
SUBSCRIPTION = "0x1"
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for 0 seconds: closing sends RST
_STRAYS = (
    b'{"jsonrpc":"2.0","id":-1,"result":"0x1"}',
    b'{"jsonrpc":"2.0","result":true}',
    b'{"jsonrpc":"2.0","id":[],"result":{"id":null}}',
    b'{"jsonrpc":"2.0","method":"eth_subscription","params":["0x1",null]}',
    b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid request"}}',
    b"[1,null,[]]",
    b"not JSON",
)


class FakeNode:
    """
    One node; use it as an async context manager.

    ``before`` sees each call first: what it returns is answered (None: the true answer), a ``NodeError`` that it raises
    is answered as an error, an ``HttpAnswer`` as that response, and while it waits nothing is. ``after`` may change the
    true answer, or raise the same. ``http`` may answer every POST in the place of JSON-RPC. ``lag`` blocks of the chain
    are not known to this node yet. ``deaf`` pushes nothing, though all else works.
    """

    def __init__(self, chain: ScriptedChain | None = None, *, chain_id: int = 31337) -> None:
        self.chain = chain or ScriptedChain()
        self.chain_id = chain_id
        self.port = 0  # a free one, and the same again when it is started again
        self.before: Before | None = None
        self.after: After | None = None
        self.http: web.Response | None = None  # the status and body of every POST
        self.silent = False  # connections stay open, but nothing is answered or pushed
        self.pongs = True  # False: pings are not answered either
        self.lag = 0  # blocks at the top of the chain that it does not have yet
        self.deaf = False  # it answers, but pushes nothing
        self.strays = False  # frames that nobody asked for come before each answer
        self.calls: list[tuple[str, list[Any]]] = []
        self.connections = 0  # websockets opened so far
        self._lines: dict[web.WebSocketResponse, asyncio.Transport] = {}
        self._runner: web.ServerRunner | None = None

    @property
    def http_url(self) -> str:
        """Where it answers over HTTP."""
        return f"http://{HOST}:{self.port}"

    @property
    def ws_url(self) -> str:
        """Where it answers over a websocket."""
        return f"ws://{HOST}:{self.port}"

    @property
    def lines(self) -> int:
        """How many websockets are open."""
        return len(self._lines)

    def count(self, method: str) -> int:
        """Return how often a method was called."""
        return sum(called == method for called, _ in self.calls)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen, on the same port as before when it was closed."""
        self._runner = web.ServerRunner(web.Server(self._serve, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening, and break open connections."""
        self.reset()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # What the script does

    async def mine(self, *emitted: Any, count: int = 1) -> ScriptedBlock:
        """Add blocks to the chain, the newest with these logs, and push their heads."""
        for left in reversed(range(count)):
            block = self.chain.add(*(() if left else emitted))
            await self.push(block)
        return self.chain.head

    async def push(self, block: ScriptedBlock) -> None:
        """Push a head, whatever the chain says: an old one, one too far, one again."""
        params = {"subscription": SUBSCRIPTION, "result": block.header()}
        await self._send_all(orjson.dumps({"jsonrpc": "2.0", "method": "eth_subscription", "params": params}))

    async def hang_up(self, code: int) -> None:
        """Close every websocket with this code."""
        for line in list(self._lines):
            await line.close(code=code)

    def reset(self) -> None:
        """Break every websocket with a TCP reset."""
        for transport in list(self._lines.values()):
            connection = transport.get_extra_info("socket")
            if connection is not None:
                with contextlib.suppress(OSError):  # it is closed already
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()

    # Answering

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._serve_line(request)
        if self.silent:
            await asyncio.Event().wait()
        if self.http is not None:
            return web.Response(status=self.http.status, body=self.http.body, headers=self.http.headers)
        try:
            return web.Response(body=await self._answer(await request.read()), content_type="application/json")
        except HttpAnswer as answer:
            return web.Response(status=answer.status, text=answer.body, headers=answer.headers)

    async def _serve_line(self, request: web.BaseRequest) -> web.WebSocketResponse:
        line = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=0)
        await line.prepare(request)
        if request.transport is None:
            return line
        self.connections += 1
        self._lines[line] = request.transport
        try:
            async with asyncio.TaskGroup() as group:
                answers = []
                while (message := await line.receive()).type in {WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING}:
                    if message.type != WSMsgType.PING:
                        answers.append(group.create_task(self._answer_line(line, message.data)))
                    elif self.pongs:
                        await line.pong(message.data)
                for answer in answers:  # some may wait for ever
                    answer.cancel()
        finally:
            self._lines.pop(line, None)
        return line

    async def _answer_line(self, line: web.WebSocketResponse, raw: bytes | str) -> None:
        if self.silent:
            return
        try:
            answer = await self._answer(raw)
        except HttpAnswer as refusal:
            error = {"code": refusal.status, "message": refusal.body}
            answer = orjson.dumps({"jsonrpc": "2.0", "id": orjson.loads(raw)["id"], "error": error})
        with contextlib.suppress(ConnectionError):  # it hung up meanwhile
            for stray in _STRAYS if self.strays else ():
                await line.send_str(stray.decode())
            await line.send_str(answer.decode())

    async def _send_all(self, message: bytes) -> None:
        for line in [] if self.silent or self.deaf else list(self._lines):
            with contextlib.suppress(ConnectionError):
                await line.send_str(message.decode())

    async def _answer(self, raw: bytes | str) -> bytes:
        request = orjson.loads(raw)
        method, params = request["method"], request.get("params", [])
        self.calls.append((method, params))
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            result = None if self.before is None else await self.before(method, params)
            if result is None:
                result = self._call(method, params)
                result = result if self.after is None else self.after(method, params, result)
            reply["result"] = result
        except NodeError as error:
            reply["error"] = {"code": error.code, "message": str(error)}
            if error.data is not None:
                reply["error"]["data"] = error.data
        return orjson.dumps(reply)

    def _call(self, method: str, params: list[Any]) -> Any:
        match method:
            case "eth_chainId":
                return hex(self.chain_id)
            case "eth_subscribe":
                return SUBSCRIPTION
            case "eth_blockNumber":
                return hex(self._height)
            case "eth_getBlockByNumber":
                block = self._block(params[0])
            case "eth_getBlockByHash":
                block = self._with_hash(params[0])
            case "eth_getLogs":
                return [log for log in self._logs(params[0]) if _wanted(log, params[0])]
            case _:
                raise NodeError(-32601, f"the method {method} does not exist")
        return None if block is None else block.header()

    def _block(self, wanted: str) -> ScriptedBlock | None:
        numbers = {"latest": self._height, "safe": self.chain.safe, "finalized": self.chain.final}
        number = numbers[wanted] if wanted in numbers else int(wanted, 16)
        if number is None:
            raise NodeError(-32602, f"invalid block tag {wanted}")
        return None if number > self._height else self.chain.block(number)

    @property
    def _height(self) -> int:
        return max(self.chain.head.number - self.lag, 0)

    def _with_hash(self, text: str) -> ScriptedBlock | None:
        block = self.chain.with_hash(bytes.fromhex(text[2:]))
        return None if block is None or block.number > self._height else block

    def _logs(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        if "blockHash" not in query:
            first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
            return [log for block in self.chain.blocks[first : last + 1] for log in block.logs()]
        block = self._with_hash(query["blockHash"])
        if block is None:
            raise NodeError(-32000, "unknown block")
        return block.logs()


def _wanted(log: dict[str, Any], query: dict[str, Any]) -> bool:
    if "address" in query and log["address"] not in query["address"]:
        return False
    topics = query.get("topics", [])
    if len(topics) > len(log["topics"]):
        return False
    return all(choice is None or topic in choice for topic, choice in zip(log["topics"], topics, strict=False))
