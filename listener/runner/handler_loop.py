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
from listener.model import Claim, Judgement, Verdict
from listener.runner.calling import STOPPING
from listener.runner.execution import Outcome, Work, execute
from listener.runner.judging import judge, self_check

log = structlog.get_logger()

HTTP_TIMEOUT_S = 30
STUCK_AFTER_S = 1.0
OVERDUE_S = 5.0  # after its time a handler was told to end; one that goes on is not waited for any longer


@dataclass(slots=True)
class _Execution:
    """A handler at work."""

    task: Claimed
    work: Work
    begun: float  # on time.monotonic(); of the call that runs, for a self-check has its own time
    given_up: bool = False  # what it still returns comes too late

    @property
    def overdue_at(self) -> float:
        return self.begun + self.work.rule.timeout_s + OVERDUE_S


@dataclass(slots=True)
class _Judging:
    """A validator at work for an attester."""

    works: Sequence[Work]
    claim: Claim
    asked: "asyncio.Future[Judgement]"  # of the stages' loop
    begun: float
    given_up: bool = False

    @property
    def overdue_at(self) -> float:
        return self.begun + sum(work.rule.timeout_s for work in self.works) + OVERDUE_S


class HandlerLoop:
    """
    Runs executions; ``deliver`` is called on the stages' loop with what has ended.

    Must be made on the stages' loop.
    """

    def __init__(self, performer: str | None, deliver: Callable[[list[Outcome]], None]) -> None:
        self._performer = performer
        self._deliver = deliver
        self._stages = asyncio.get_running_loop()
        self._loop = new_event_loop()
        self._outcomes: list[Outcome] = []
        self._judged: list[tuple[asyncio.Future[Judgement], Judgement]] = []
        self._asked: list[_Judging] = []  # not yet begun
        self._closing = False
        self._lock = threading.Lock()
        # The loop itself holds its tasks only weakly.
        self._running: dict[asyncio.Task[None], _Execution | _Judging] = {}
        self._http: aiohttp.ClientSession | None = None
        self._thread = threading.Thread(target=self._serve, name="handlers", daemon=True)
        self._thread.start()

    def start(self, batch: Sequence[tuple[Claimed, Work]]) -> None:
        """Begin executions."""
        self._loop.call_soon_threadsafe(self._begin, batch)

    def judge(self, works: Sequence[Work], claim: Claim) -> "asyncio.Future[Judgement]":
        """Have a claim judged by the rules that it may come from; what is asked in one turn goes over together."""
        if self._closing:
            return judged(Verdict.unsure(STOPPING))
        asked: asyncio.Future[Judgement] = self._stages.create_future()
        self._asked.append(_Judging(works, claim, asked, time.monotonic()))
        if len(self._asked) == 1:
            self._stages.call_soon(self._send_asked)
        return asked

    def _send_asked(self) -> None:
        batch, self._asked = self._asked, []
        self._loop.call_soon_threadsafe(self._begin_judging, batch)

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
        self._closing = True
        if self._asked:
            self._send_asked()
        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._end()))
        await asyncio.to_thread(self._thread.join, STUCK_AFTER_S)
        self._hand_over()
        for left in list(self._running.values()):  # by a thread that does not end
            if isinstance(left, _Judging) and not left.asked.done():
                left.asked.set_result(Judgement(Verdict.unsure(STOPPING)))

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        if not self._loop.is_running():
            self._loop.close()

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            # All tasks share it: a cookie of one task's host must not go out with another task's request.
            self._http = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=HTTP_TIMEOUT_S)
            )
        return self._http

    def _begin(self, batch: Sequence[tuple[Claimed, Work]]) -> None:
        http = self._session()
        for task, work in batch:
            execution = _Execution(task, work, time.monotonic())
            running = self._loop.create_task(self._run(execution, http), name=f"{task.rule} {task.id}")
            self._running[running] = execution
            running.add_done_callback(self._running.pop)

    async def _run(self, execution: "_Execution", http: aiohttp.ClientSession) -> None:
        work, performer = execution.work, self._performer or ""
        outcome = await execute(execution.task, work, http, performer)
        if work.judges_itself and outcome.result is not None and not execution.given_up:
            execution.begun = time.monotonic()
            outcome = await self_check(outcome, work, http, performer)
        if not execution.given_up:
            self._hold(outcome)

    def _begin_judging(self, batch: Sequence[_Judging]) -> None:
        http = self._session()
        for judging in batch:
            name = f"{judging.works[0].rule.name} validate"
            running = self._loop.create_task(self._judge(judging, http), name=name)
            self._running[running] = judging
            running.add_done_callback(self._running.pop)

    async def _judge(self, judging: "_Judging", http: aiohttp.ClientSession) -> None:
        try:
            judgement = await judge(judging.works, judging.claim, http, self._performer)
        except asyncio.CancelledError:
            judgement = Judgement(Verdict.unsure(STOPPING))
        if not judging.given_up:
            self._hold_judged(judging.asked, judgement)

    def _give_up_overdue(self) -> None:
        """Go on without handlers that swallowed their cancellation: their slots and their tasks must not wait."""
        now = time.monotonic()
        for running in list(self._running.values()):
            if running.given_up or now < running.overdue_at:
                continue
            running.given_up = True
            if isinstance(running, _Judging):
                self._give_up_judging(running)
                continue
            rule = running.work.rule
            log.error("handler.overdue", rule=rule.name, task=running.task.id, timeout_s=rule.timeout_s)
            failure = HandlerTimeout(
                f"no result within timeout_s = {rule.timeout_s:g}, and it did not end when it was cancelled"
            )
            self._hold(Outcome(running.task, None, failure, now - running.begun))

    def _give_up_judging(self, judging: _Judging) -> None:
        rule = judging.works[0].rule
        log.error("validator.overdue", rule=rule.name, timeout_s=rule.timeout_s)
        reason = f"no verdict within timeout_s = {rule.timeout_s:g}, and it did not end when it was cancelled"
        self._hold_judged(judging.asked, Judgement(Verdict.unsure(reason)))

    def _hold(self, outcome: Outcome) -> None:
        """Keep an outcome for the stages' loop, and wake that for the first one."""
        with self._lock:
            self._outcomes.append(outcome)
            first = len(self._outcomes) == 1 and not self._judged
        if first:
            self._stages.call_soon_threadsafe(self._hand_over)

    def _hold_judged(self, asked: "asyncio.Future[Judgement]", judgement: Judgement) -> None:
        with self._lock:
            self._judged.append((asked, judgement))
            first = len(self._judged) == 1 and not self._outcomes
        if first:
            self._stages.call_soon_threadsafe(self._hand_over)

    def _hand_over(self) -> None:
        with self._lock:
            outcomes, self._outcomes = self._outcomes, []
            judged, self._judged = self._judged, []
        for asked, judgement in judged:
            if not asked.done():
                asked.set_result(judgement)
        if outcomes:
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


def judged(verdict: Verdict) -> "asyncio.Future[Judgement]":
    """Give a judgement for which nobody was asked."""
    future: asyncio.Future[Judgement] = asyncio.get_running_loop().create_future()
    future.set_result(Judgement(verdict))
    return future
