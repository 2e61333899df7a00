"""Whoever reads a chain can be stopped at any moment, also while a read fails."""

import asyncio
from typing import Any

import pytest

from listener.chains import Chain
from listener.errors import ChainUnavailable


class Dying:
    """An endpoint that has no block 1, and takes its time to let go of the others."""

    name = "dying"
    connected = True

    async def prove(self) -> None:
        return

    async def call(self, _method: str, params: list[Any]) -> Any:
        if params[0] == "0x1":
            raise ChainUnavailable("gone")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)


async def test_a_cancelling_that_meets_a_failure_is_not_forgotten() -> None:
    chain = Chain("l2", 31337)
    chain.pool.add(lambda _member: Dying())
    reading = asyncio.create_task(chain.headers([2, 3, 1]))
    await asyncio.sleep(0.02)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_a_failure_alone_is_the_failure() -> None:
    chain = Chain("l2", 31337)
    chain.pool.add(lambda _member: Dying())
    with pytest.raises(ChainUnavailable, match="gone"):
        await chain.headers([2, 3, 1])
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0
