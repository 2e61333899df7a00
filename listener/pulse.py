"""The stage behind some of the metrics: looks whether the main loop is on time, and what waits in the journal."""

import asyncio
import time
from contextlib import suppress

import structlog

from listener import metrics
from listener.errors import JournalError
from listener.journal import Journal

log = structlog.get_logger()

LOOK_S = 1.0  # between two looks at the loop
STALLED_S = 1.0  # a loop that is later than this is worth a line
MEASURE_S = 10.0  # between two looks at the journal
SHARE = 20  # at the most one part in so many of the time is spent on those


class Pulse:
    """Measures the daemon while it runs."""

    name = "pulse"

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def run(self, stop: asyncio.Event) -> None:
        """Measure until asked to stop."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(stop))
            group.create_task(self._measure(stop))

    async def _watch(self, stop: asyncio.Event) -> None:
        stall = metrics.loop_stall_seconds.labels("main").observe
        while not stop.is_set():
            due_at = time.monotonic() + LOOK_S
            await _rest(stop, LOOK_S)
            late_s = max(time.monotonic() - due_at, 0.0)
            stall(late_s)
            if late_s >= STALLED_S:
                log.warning("loop.stalled", for_s=round(late_s, 1))

    async def _measure(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            begun = time.monotonic()
            try:
                await self._journal.measure()
            except JournalError as error:  # whoever has to write tells of it
                log.debug("journal.not_measured", reason=str(error))
            await _rest(stop, max(MEASURE_S, (time.monotonic() - begun) * (SHARE - 1)))


async def _rest(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
