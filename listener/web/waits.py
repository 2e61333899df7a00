"""Those who wait until their task has come to an end; told by the journal, and by a look now and then."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from listener.journal import Journal
from listener.journal.readings import Readings
from listener.journal.rows import OPEN, find_task

LOOK_S = 1.0  # another process may have the task in hand, and then nobody tells


class Waits:
    """
    Waits for tasks.

    Args:
        journal: it tells here of tasks that may have ended.
        readings: where their rows are read.
        room: how many may wait at a time; the others are told at once that it is not over yet.
        stopping: when it is set, nobody waits any longer.
    """

    def __init__(self, journal: Journal, readings: Readings, room: int, stopping: asyncio.Event) -> None:
        self._readings = readings
        self._room = room
        self._stopping = stopping
        self._waiting: dict[int, list[asyncio.Event]] = {}
        self._count = 0
        journal.on_ended = self._on_ended

    async def ended(self, task: int, within_s: float) -> dict[str, Any] | None:
        """Return the task's row as soon as it has come to an end; None where it has not in time."""
        if self._count >= self._room:
            return None
        told = asyncio.Event()
        self._waiting.setdefault(task, []).append(told)
        self._count += 1
        try:
            return await self._look(task, told, time.monotonic() + within_s)
        finally:
            self._count -= 1
            self._waiting[task].remove(told)
            if not self._waiting[task]:
                del self._waiting[task]

    async def _look(self, task: int, told: asyncio.Event, until: float) -> dict[str, Any] | None:
        while True:
            told.clear()
            row = await self._readings.read(partial(find_task, task_id=task))
            if row is None or row["state"] not in OPEN:
                return row
            left_s = until - time.monotonic()
            if left_s <= 0 or self._stopping.is_set():
                return None
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, LOOK_S)):
                    await told.wait()

    def _on_ended(self, tasks: Iterable[int]) -> None:
        if self._waiting:
            for task in tasks:
                for told in self._waiting.get(task, ()):
                    told.set()
