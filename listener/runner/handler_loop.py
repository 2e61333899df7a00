"""
The handlers' own event loop, in a thread apart from the stages.

A handler that blocks delays other handlers and nothing else. Work goes over and outcomes come back in batches: one
wake-up of the other thread serves all that is waiting.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp
import structlog

from listener import metrics
from listener.errors import HandlerTimeout
from listener.journal import Claimed
from listener.loops import new_event_loop
from listener.runner.execution import STOPPING, Outcome, Work, execute

log = structlog.get_logger()

HTTP_TIMEOUT_S = 30
STUCK_AFTER_S = 1.0
OVERDUE_S = 5.0  # after its time a handler was told to end; one that goes on is not waited for any longer


@dataclass(slots=True)
class _Execution:
    """A handler at work."""

    task: Claimed
    work: Work
    begun: float  # on time.monotonic()
    given_up: bool = False  # what it still returns comes too late


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
        self._running: dict[asyncio.Task[None], _Execution] = {}  # the loop itself holds its tasks only weakly
        self._http: aiohttp.ClientSession | None = None
        self._thread = threading.Thread(target=self._serve, name="handlers", daemon=True)
        self._thread.start()

    def start(self, batch: Sequence[tuple[Claimed, Work]]) -> None:
        """Begin executions."""
        self._loop.call_soon_threadsafe(self._begin, batch)

    async def watch(self) -> None:
        """Name the handler that keeps its loop from turning, and give up those that do not end; until cancelled."""
        stall = metrics.loop_stall_seconds.labels("handlers").observe
        while True:
            await asyncio.sleep(STUCK_AFTER_S)
            if not self._running:
                continue
            self._loop.call_soon_threadsafe(self._give_up_overdue)
            turned = asyncio.Event()
            asked_at = time.monotonic()
            self._loop.call_soon_threadsafe(self._stages.call_soon_threadsafe, turned.set)
            try:
                async with asyncio.timeout(STUCK_AFTER_S):
                    await turned.wait()
            except TimeoutError:
                stuck = asyncio.current_task(self._loop)
                metrics.handlers_blocked.inc()
                log.warning("handlers.blocked", task=stuck.get_name() if stuck else None, for_s=STUCK_AFTER_S)
                await turned.wait()
            stall(time.monotonic() - asked_at)

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
            execution = _Execution(task, work, time.monotonic())
            running = self._loop.create_task(self._run(execution, self._http), name=f"{task.rule} {task.id}")
            self._running[running] = execution
            running.add_done_callback(self._running.pop)

    async def _run(self, execution: "_Execution", http: aiohttp.ClientSession) -> None:
        outcome = await execute(execution.task, execution.work, http, self._performer)
        if not execution.given_up:
            self._hold(outcome)

    def _give_up_overdue(self) -> None:
        """Go on without handlers that swallowed their cancellation: their slots and their tasks must not wait."""
        now = time.monotonic()
        for execution in self._running.values():
            rule, took_s = execution.work.rule, now - execution.begun
            if execution.given_up or took_s < rule.timeout_s + OVERDUE_S:
                continue
            execution.given_up = True
            log.error("handler.overdue", rule=rule.name, task=execution.task.id, timeout_s=rule.timeout_s)
            failure = HandlerTimeout(
                f"no result within timeout_s = {rule.timeout_s:g}, and it did not end when it was cancelled"
            )
            self._hold(Outcome(execution.task, None, failure, took_s))

    def _hold(self, outcome: Outcome) -> None:
        """Keep an outcome for the stages' loop, and wake that for the first one."""
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
