"""
Reads of the journal beside the daemon's writes, for those who only look: in threads of their own, so that neither the
loop nor the writer waits for them.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from listener.config import Url
from listener.journal.database import open_engine, opened

T = TypeVar("T")

THREADS = 2


class Readings:
    """The journal as it can be read at any time. Threads and connections are made when they are needed."""

    def __init__(self, place: Path | Url) -> None:
        self._engine = open_engine(place)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="reading")

    async def read(self, work: Callable[[Connection], T]) -> T:
        """
        Run some reads on one connection, and return what they return.

        Raises:
            JournalError: it cannot be read now.
        """

        def reading() -> T:
            with opened(self._engine) as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._threads, reading)

    def close(self) -> None:
        """Let go of the threads and what they opened."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._engine.dispose()
