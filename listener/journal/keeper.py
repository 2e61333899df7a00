"""The stage behind ``journal.keep``: has old rows removed, slowly, so that a task that is due hardly waits."""

import asyncio
import time
from contextlib import suppress
from datetime import timedelta

import structlog

from listener.journal.clock import now_us
from listener.journal.journal import Journal
from listener.journal.removal import BATCH

log = structlog.get_logger()

LOOK_S = 600.0  # between two passes
SHORTEST_PAUSE_S = 0.05
SHARE = 20  # at the most one part in so many of the time is spent on removing


class Keeper:
    """Removes what ended longer ago than ``keep``."""

    name = "keeper"

    def __init__(self, journal: Journal, keep: timedelta) -> None:
        self._journal = journal
        self._keep_us = int(keep.total_seconds() * 1_000_000)

    async def run(self, stop: asyncio.Event) -> None:
        """Look for old rows now and then, until asked to stop."""
        while not stop.is_set():
            oldest = now_us() - self._keep_us
            tasks, incidents = await self._remove_tasks(oldest, stop), await self._remove_incidents(oldest, stop)
            if tasks or incidents:
                log.info("journal.swept", tasks=tasks, incidents=incidents)
            await _rest(stop, LOOK_S)

    async def _remove_tasks(self, oldest: int, stop: asyncio.Event) -> int:
        count, last = 0, 0
        while not stop.is_set():
            begun = time.monotonic()
            removed = await self._journal.remove_tasks(last, oldest)
            count += removed.count
            if removed.last is None:
                break
            last = removed.last
            await _pause(stop, begun)
        return count

    async def _remove_incidents(self, oldest: int, stop: asyncio.Event) -> int:
        count = 0
        while not stop.is_set():
            begun = time.monotonic()
            removed = await self._journal.remove_incidents(oldest)
            count += removed
            if removed < BATCH:
                break
            await _pause(stop, begun)
        return count


async def _pause(stop: asyncio.Event, begun: float) -> None:
    """Leave the writer to others, for a multiple of what was taken of its time."""
    await _rest(stop, max(SHORTEST_PAUSE_S, (time.monotonic() - begun) * (SHARE - 1)))


async def _rest(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
