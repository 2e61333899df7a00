"""
The handlers' own event loop, in a thread apart from the stages.

A handler that blocks delays other handlers and nothing else. Work goes over and outcomes come back in batches: one
wake-up of the other thread serves all that is waiting.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence

import aiohttp
import structlog

from listener.journal import Claimed
from listener.loops import new_event_loop
from listener.runner.execution import STOPPING, Outcome, Work, execute

log = structlog.get_logger()

HTTP_TIMEOUT_S = 30
STUCK_AFTER_S = 1.0


class HandlerLoop:
    """
    Runs executions; ``deliver`` is called on the stages' loop with what has ended.

    Must be made on the stages' loop.
    """

    def __init__(self, performer: str, deliver: Callable[[list[Outcome]], None]) -> None:
        self._performer = performer
        self._deliver = deliver
        self._stages = asyncio.get_running_loop()
        self._loop = new_event_loop()
        self._outcomes: list[Outcome] = []
        self._lock = threading.Lock()
        self._running: set[asyncio.Task[None]] = set()  # the loop itself holds its tasks only weakly
        self._http: aiohttp.ClientSession | None = None
        self._thread = threading.Thread(target=self._serve, name="handlers", daemon=True)
        self._thread.start()

    def start(self, batch: Sequence[tuple[Claimed, Work]]) -> None:
        """Begin executions."""
        self._loop.call_soon_threadsafe(self._begin, batch)

    async def watch(self) -> None:
        """Name the handler that keeps its loop from turning; runs until cancelled."""
        while True:
            await asyncio.sleep(STUCK_AFTER_S)
            if not self._running:
                continue
            turned = asyncio.Event()
            self._loop.call_soon_threadsafe(self._stages.call_soon_threadsafe, turned.set)
            try:
                async with asyncio.timeout(STUCK_AFTER_S):
                    await turned.wait()
            except TimeoutError:
                stuck = asyncio.current_task(self._loop)
                log.warning("handlers.blocked", task=stuck.get_name() if stuck else None, for_s=STUCK_AFTER_S)
                await turned.wait()

    async def close(self) -> None:
        """Cancel what still runs and end the thread; one that blocks is left behind."""
        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._end()))
        await asyncio.to_thread(self._thread.join, STUCK_AFTER_S)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        if not self._loop.is_running():
            self._loop.close()

    def _begin(self, batch: Sequence[tuple[Claimed, Work]]) -> None:
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=HTTP_TIMEOUT_S))
        for task, work in batch:
            running = self._loop.create_task(self._run(task, work, self._http), name=f"{task.rule} {task.id}")
            self._running.add(running)
            running.add_done_callback(self._running.discard)

    async def _run(self, task: Claimed, work: Work, http: aiohttp.ClientSession) -> None:
        outcome = await execute(task, work, http, self._performer)
        with self._lock:
            self._outcomes.append(outcome)
            first = len(self._outcomes) == 1
        if first:
            self._stages.call_soon_threadsafe(self._hand_over)

    def _hand_over(self) -> None:
        with self._lock:
            outcomes, self._outcomes = self._outcomes, []
        self._deliver(outcomes)

    async def _end(self) -> None:
        running = list(self._running)
        for task in running:
            task.cancel(STOPPING)
        if running:
            await asyncio.wait(running)
        if self._http is not None:
            await self._http.close()
        await self._loop.shutdown_asyncgens()
        self._loop.stop()
