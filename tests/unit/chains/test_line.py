"""A websocket's loop ends when it is told to, whatever happens to its connection at that very moment."""

import asyncio
import gc

import pytest

from listener.chains import websocket
from listener.chains.websocket import WebsocketEndpoint
from listener.errors import ChainUnavailable
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


async def test_a_call_whose_line_is_lost_as_it_is_sent_leaves_nothing_for_the_loop_to_complain_of() -> None:
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    async with FakeNode() as node:
        ears = Deaf()
        line = WebsocketEndpoint(node.ws_url, "line", node.chain_id, ears)
        running = asyncio.create_task(line.run())
        await ears.opened.wait()
        connection = line._connection
        assert connection is not None

        async def send(*_args: object, **_options: object) -> None:
            line._fail_pending(None)
            raise ConnectionResetError

        connection.send = send  # type: ignore[method-assign, assignment]
        with pytest.raises(ChainUnavailable, match="ConnectionResetError"):
            await line.call("eth_blockNumber", [])
        running.cancel()
        await asyncio.wait([running])
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
