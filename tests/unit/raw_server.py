"""A server that says on its socket exactly what a test wants it to say."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import orjson

TAKEN = b'{"jsonrpc":"2.0","id":1,"result":true}'
Reply = bytes | None  # None: the connection is cut without an answer
Hook = Callable[["Request"], Awaitable[Reply]]


@dataclass(slots=True)
class Request:
    """What came in, as bytes and as JSON."""

    head: str
    body: bytes
    connection: int  # which of the connections so far, from 1

    @property
    def json(self) -> dict[str, object]:
        return orjson.loads(self.body)  # type: ignore[no-any-return]


@dataclass(slots=True)
class RawServer:
    """
    Use it as an async context manager.

    Each of ``replies`` answers one request; when there is none left, ``reply`` does. ``hook`` replaces both.
    """

    replies: list[Reply] = field(default_factory=list)
    reply: Reply = b""
    hook: Hook | None = None
    requests: list[Request] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    connections: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _open: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.reply = self.reply or answer(TAKEN)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen; on the same port as before when it was closed."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=2**24)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and cut every connection."""
        if self._server is not None:
            self._server.close()
            serving = [task for task in self._open.values() if task is not None]
            for writer, task in list(self._open.items()):
                writer.transport.abort()
                if task is not None:
                    task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self._open[writer] = asyncio.current_task()
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(line for line in head.lower().splitlines() if line.startswith("content-length:"))
                body = await reader.readexactly(int(length.partition(":")[2]))
                request = Request(head, body, number)
                self.requests.append(request)
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                try:
                    reply = await self._reply(request)
                finally:
                    self.at_once -= 1
                if reply is None:
                    writer.transport.abort()
                    return
                writer.write(reply)
                await writer.drain()
                if b"content-length" not in reply.lower() and b"chunked" not in reply.lower():
                    return  # the end of the connection is the end of the answer
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return  # a cancelled one too: the library would print a traceback
        finally:
            self._open.pop(writer, None)
            writer.close()

    async def _reply(self, request: Request) -> Reply:
        if self.hook is not None:
            return await self.hook(request)
        return self.replies.pop(0) if self.replies else self.reply


def answer(body: bytes | str, status: int = 200, *headers: str) -> bytes:
    """An HTTP answer as a well-behaved server writes it."""
    raw = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(raw)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + raw


def rpc_error(code: int, message: str, data: object = None, status: int = 200) -> bytes:
    """A JSON-RPC error in an HTTP answer."""
    error = {"code": code, "message": message} | ({} if data is None else {"data": data})
    return answer(orjson.dumps({"jsonrpc": "2.0", "id": 1, "error": error}), status)
