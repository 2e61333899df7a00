"""
The witness: one process that sees both ends of a client's work, so that one clock times them.

It hears of each block by a ``newHeads`` subscription of its own, on the same chain and in the same way as the client,
and it is the aggregator that the client sends to. It keeps every ``sendTask`` unseen, with its arrival time:
signatures and repeats are looked at after the measured run, for a recovery costs more than the rest of the answer.
"""

import argparse
import asyncio
import sys
import time
from typing import Any

import orjson
import uvloop
from websockets.asyncio.client import connect

from listener.devnet.anvil import HOST

END_OF_HEADERS = b"\r\n\r\n"
CONTENT_LENGTH = b"content-length:"
OPEN_CONNECTIONS_MAX = 256


class Seen:
    """When each block was announced, and each ``sendTask`` with its time; times are monotonic seconds."""

    def __init__(self) -> None:
        self.heads: dict[int, float] = {}
        self.calls: list[tuple[float, Any]] = []

    def answer(self, path: bytes, body: bytes) -> Any:
        """Answer a request: a path of the harness, or JSON-RPC of the client."""
        now = time.monotonic()
        if path == b"/count":
            return len(self.calls)
        if path == b"/seen":
            return {"heads": list(self.heads.items()), "calls": self.calls}
        request = orjson.loads(body)
        reply = {"jsonrpc": "2.0", "id": request["id"]}
        if request["method"] == "sendTask":
            self.calls.append((now, request["params"]))
            return reply | {"result": True}
        if request["method"] == "eth_chainId":
            return reply | {"result": "0x7a69"}
        return reply | {"error": {"code": -32601, "message": f"there is no method {request['method']}"}}


class Connection(asyncio.Protocol):
    """
    One keep-alive connection.

    HTTP by hand, as far as the clients speak it: a library would take as much of the machine as the client it times.
    """

    def __init__(self, seen: Seen, delay_s: float) -> None:
        self._seen = seen
        self._delay_s = delay_s
        self._buffer = b""
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None  # uvloop's own, which does not say what it is

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._buffer += data
        while (end := self._buffer.find(END_OF_HEADERS)) >= 0:
            headers = self._buffer[:end]
            start = end + len(END_OF_HEADERS)
            length = _content_length(headers)
            if len(self._buffer) < start + length:
                return
            body, self._buffer = self._buffer[start : start + length], self._buffer[start + length :]
            path = headers.split(b" ", 2)[1]
            answer = _response(orjson.dumps(self._seen.answer(path, body)))
            if self._delay_s and body:
                self._loop.call_later(self._delay_s, self._write, answer)
            else:
                self._write(answer)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


def _content_length(headers: bytes) -> int:
    lowered = headers.lower()
    at = lowered.find(CONTENT_LENGTH)
    if at < 0:
        return 0
    return int(lowered[at + len(CONTENT_LENGTH) :].split(b"\r\n", 1)[0])


def _response(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def watch(seen: Seen, ws_url: str) -> None:
    """Note when each new block is announced; blocks that are never replaced, for the benchmarks make no reorgs."""
    async with connect(ws_url, compression=None, max_size=None) as chain:
        await chain.send('{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}')
        await chain.recv()
        async for message in chain:
            now = time.monotonic()
            seen.heads[int(orjson.loads(message)["params"]["result"]["number"], 16)] = now


async def run(ws_url: str, delay_s: float) -> None:
    """Listen, print the port, and watch until a signal ends the process."""
    seen = Seen()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(seen, delay_s), HOST, 0, backlog=OPEN_CONNECTIONS_MAX)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await watch(seen, ws_url)


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description="Watch a chain's heads and take sendTask.")
    parser.add_argument("--ws", required=True, help="URL of the chain's websocket")
    parser.add_argument("--delay", type=float, default=0, help="seconds before each answer")
    options = parser.parse_args()
    uvloop.run(run(options.ws, options.delay))


if __name__ == "__main__":
    main()
