"""A websocket's loop ends when it is told to, whatever happens to its connection at that very moment."""

import asyncio

import pytest

from listener.chains import websocket
from listener.chains.websocket import WebsocketEndpoint
from listener.testing import FakeNode


class Deaf:
    """Hears all and does nothing."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    def on_head(self, _header: object) -> None:
        return

    def on_open(self) -> None:
        self.opened.set()

    def on_lost(self) -> None:
        return

    def on_wrong_chain(self, _error: Exception) -> None:
        return


async def test_a_cancelling_that_meets_a_lost_connection_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    breaks = asyncio.Event()

    async def read(line: WebsocketEndpoint, connection: object) -> None:
        reading = asyncio.create_task(real(line, connection))  # type: ignore[arg-type]
        breaking = asyncio.create_task(breaks.wait())
        try:
            await asyncio.wait([reading, breaking], return_when=asyncio.FIRST_COMPLETED)
            raise ConnectionResetError
        finally:
            reading.cancel()
            breaking.cancel()

    real = WebsocketEndpoint._read
    monkeypatch.setattr(WebsocketEndpoint, "_read", read)
    monkeypatch.setattr(websocket, "FIRST_PAUSE_S", 0.01)
    async with FakeNode() as node:
        for late in range(6):  # one of these turns of the loop is the very moment
            breaks.clear()
            ears = Deaf()
            running = asyncio.create_task(WebsocketEndpoint(node.ws_url, "line", node.chain_id, ears).run())
            await ears.opened.wait()
            breaks.set()
            for _ in range(late):
                await asyncio.sleep(0)
            running.cancel()
            await asyncio.wait([running], timeout=5)
            assert running.cancelled(), f"cancelled {late} turns after the loss, it goes on"
