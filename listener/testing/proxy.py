"""
A TCP proxy in front of a real node or aggregator: lines that are cut, reset, fall silent, drip or are refused.

It knows nothing of what goes through it.
"""

import asyncio
import contextlib
import socket
import struct
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
CHUNK = 65_536
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for 0 seconds: closing sends RST


class Proxy:
    """
    One proxy to one port of this machine; use it as an async context manager.

    ``silent`` swallows what comes, both ways, while the lines stay open: a half-open link. ``delay_s`` passes before
    each piece goes on, ``bytes_per_s`` is as much as one direction of a line carries. All may be set at any time.
    """

    def __init__(self, target_port: int, *, port: int = 0) -> None:
        self.target_port = target_port
        self.port = port  # 0 until started takes a free one
        self.silent = False
        self.delay_s = 0.0
        self.bytes_per_s: float | None = None
        self.connections = 0  # so far
        self.broken = 0  # lines that were cut or reset so far
        self._server: asyncio.Server | None = None
        self._lines: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}

    @property
    def http_url(self) -> str:
        """Where it answers for an HTTP server."""
        return f"http://{HOST}:{self.port}"

    @property
    def ws_url(self) -> str:
        """Where it answers for a websocket server."""
        return f"ws://{HOST}:{self.port}"

    @property
    def lines(self) -> int:
        """How many lines are open."""
        return len(self._lines)

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.refuse()
        self.reset()
        if self._lines:
            await asyncio.wait(self._lines)

    async def listen(self) -> None:
        """Take connections, on the same port as before."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, HOST, self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Take no more connections; those that are open go on."""
        if self._server is not None:
            self._server.close()
            self._server = None
            await asyncio.sleep(0)

    def cut(self) -> None:
        """End every line in good order."""
        for writers in list(self._lines.values()):
            self.broken += 1
            for writer in writers:
                writer.close()

    def reset(self) -> None:
        """Break every line with a TCP reset."""
        for writers in list(self._lines.values()):
            self.broken += 1
            for writer in writers:
                connection = writer.get_extra_info("socket")
                if connection is not None:
                    with contextlib.suppress(OSError):  # it is closed already
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self.connections += 1
        self._lines[task] = (writer,)
        try:
            there, onward = await asyncio.open_connection(HOST, self.target_port)
            self._lines[task] = (writer, onward)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, onward))
                group.create_task(self._pump(there, writer))
        except OSError:
            writer.transport.abort()  # the one behind us is down
        finally:
            for each in self._lines.pop(task):
                each.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(CHUNK):
                if self.silent:
                    continue
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if self.bytes_per_s is not None:
                    await asyncio.sleep(len(piece) / self.bytes_per_s)
                writer.write(piece)
                await writer.drain()
        writer.close()
