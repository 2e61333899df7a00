"""
The stage that runs handlers: claims what is due, executes it, signs the result and makes it durable.

Claiming and finishing are two loops that meet only in the journal and in the count of free slots. Several tasks are
claimed, and several finished, in one transaction whenever several wait.
"""

import asyncio
import random
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial

import structlog

from listener import metrics, traces
from listener.config import Hold
from listener.errors import BadTaskResult, ElectionFailed
from listener.journal import Claimed, Due, Ended, Journal, Signed, now_us
from listener.logs import redacted
from listener.model import Claim, Judgement, State, Verdict
from listener.runner.execution import Outcome, Work
from listener.runner.handler_loop import HandlerLoop, judged
from listener.runner.noting import note_execution, note_signing
from listener.signing import Signer

log = structlog.get_logger()

SECOND = 1_000_000  # in the journal's microseconds
LONGEST_PAUSE_S = 60.0
ELECTION_PAUSE_S = 2.0
POLL_S = 5.0  # polling is the fallback of the wake-up


class Runner:
    """Executes pending tasks, at most each rule's ``concurrency`` at a time, in the order they were journaled."""

    name = "runner"

    def __init__(self, works: Sequence[Work], signer: Signer, journal: Journal) -> None:
        self._works = {work.rule.name: work for work in works}
        self._metrics = {name: metrics.of_rule(name) for name in self._works}
        self._signer = signer
        self._journal = journal
        self._wake = asyncio.Event()
        self._waiting = set(self._works)  # rules that may have due tasks
        self._in_hand: set[Claimed] = set()  # one task may be in it twice: taken away, revived and claimed anew
        self._busy = dict.fromkeys(self._works, 0)
        self._received = dict.fromkeys(self._works, 0)  # tasks, in all
        self._room = dict.fromkeys(self._works, 0)  # tasks that the claim which stands can still bring
        self._polled_at = 0.0  # on the loop's clock
        self._suspect: Claimed | None = None  # in hand
        self._suspects_left = True
        self._unread: set[str] = set()  # rules whose last election could not be read
        self._outcomes: list[Outcome] = []
        self._ended = asyncio.Event()
        self._handlers: HandlerLoop | None = None
        journal.on_pending = self._on_pending
        journal.on_expired = _report_expired

    async def run(self, stop: asyncio.Event) -> None:
        """Run handlers until asked to stop, then finish what is in hand; what is cut short is put back."""
        handlers = self._handlers = HandlerLoop(self._signer.address, self._on_outcomes)
        self._journal.on_claimed = partial(self._start, handlers)
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(each) for each in (handlers.watch(), self._finish(), self._wake_at(stop))]
                await self._claim(handlers, stop)
                await self._journal.claim_nothing()
                while self._in_hand:
                    self._wake.clear()
                    await self._wake.wait()
                for helper in helpers:
                    helper.cancel()
        finally:
            await self._journal.release()
            await handlers.close()

    def judge(self, works: Sequence[Work], claim: Claim) -> "asyncio.Future[Judgement]":
        """Have an attester's claim judged where this performer's own tasks are executed."""
        if self._handlers is None:
            return judged(Verdict.unsure("the daemon starts"))
        return self._handlers.judge(works, claim)

    # Claiming

    async def _claim(self, handlers: HandlerLoop, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._wake.clear()
            self._poll()
            await self._take_suspect(handlers)
            due = [self._due(self._works[name]) for name in sorted(self._waiting) if not self._must_wait(name)]
            due = [item for item in due if item.slots > 0]
            if not due:
                await self._wait()
                continue
            self._waiting.difference_update(item.rule for item in due)
            for item, claimed in zip(due, await self._journal.claim(due), strict=True):
                # A claim that stood may have brought some while this one was on its way.
                left = item.slots - (self._received[item.rule] - (item.received or 0))
                if len(claimed) >= left:
                    self._waiting.add(item.rule)  # there may be more
                self._room[item.rule] = left if item.stands else len(claimed)
                self._start(handlers, claimed)

    def _must_wait(self, rule: str) -> bool:
        """Tell whether a rule that keeps an order waits for its suspects, which are older than all else."""
        return self._suspects_left and self._works[rule].rule.concurrency == 1

    async def _take_suspect(self, handlers: HandlerLoop) -> None:
        """
        Take up one of the tasks that were in hand when a process ended uncleanly.

        One at a time: one of them may be what ended it, and would take the attempts of all the others with its own.
        """
        if self._suspect is not None or not self._suspects_left:
            return
        due = [self._due(work) for work in self._works.values()]
        self._suspect = await self._journal.claim_suspect([item for item in due if item.slots > 0])
        self._suspects_left = self._suspect is not None
        if self._suspect is not None:
            self._start(handlers, [self._suspect])

    def _start(self, handlers: HandlerLoop, claimed: Sequence[Claimed]) -> None:
        for task in claimed:
            self._room[task.rule] -= 1
            self._in_hand.add(task)
            self._busy[task.rule] += 1
            self._received[task.rule] += 1
        if claimed:
            handlers.start([(task, self._works[task.rule]) for task in claimed])

    def _due(self, work: Work) -> Due:
        rule = work.rule
        cursor = self._journal.cursors.get(work.chain)
        return Due(
            rule=rule.name,
            slots=rule.concurrency - self._busy[rule.name],
            released=self._released(work),
            oldest=None if rule.max_age is None else int(time.time() - rule.max_age.total_seconds()),
            received=self._received[rule.name],
            cursor=None if cursor is None or work.hold == Hold() else cursor.number,
        )

    def _released(self, work: Work) -> int | None:
        """Return up to which block the rule's tasks may run; None where nothing holds them."""
        hold = work.hold
        if work.matcher is None:
            return None  # no block made them, so none can leave with them
        if self._is_in_doubt(work):
            return -1
        if hold == Hold():
            return None
        frontier = self._journal.frontiers.get(work.chain)
        cursor = self._journal.cursors.get(work.chain)
        if frontier is None or cursor is None:
            return -1  # the chain was not read yet: nothing is confirmed
        if hold.finality is not None:
            return frontier.safe if hold.finality == "safe" else frontier.final
        return cursor.number - hold.confirmations

    def _is_in_doubt(self, work: Work) -> bool:
        """Say whether blocks may have left the chain of which nobody knows yet: nothing is signed for those."""
        return work.matcher is not None and work.chain not in self._journal.looked

    async def _wait(self) -> None:
        """Wait until there is news, a slot, or a retry that is due."""
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._wake.wait()

    def _poll(self) -> None:
        """Look at every rule now and then, however much wakes us: a row may be due that nobody speaks of."""
        now = asyncio.get_running_loop().time()
        if now - self._polled_at >= POLL_S:
            self._polled_at = now
            self._suspects_left = True
            self._waiting.update(self._works)

    def _on_pending(self, rules: Iterable[str] | None) -> None:
        """Look at rules with new tasks, and at those whose tasks a new block may have confirmed."""
        if rules is None:
            self._suspects_left = True  # they may be due as well
        self._waiting.update(self._works if rules is None else rules)
        self._waiting.update(name for name, work in self._works.items() if work.hold != Hold())
        self._waiting.intersection_update(self._works)
        if self._waiting:
            self._wake.set()

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    # Finishing

    def _on_outcomes(self, outcomes: list[Outcome]) -> None:
        self._outcomes += outcomes
        for outcome in outcomes:
            rule = outcome.task.rule
            if outcome.executed:
                self._metrics[rule].executed(outcome.took_s)
            self._busy[rule] -= 1
            if outcome.task == self._suspect:
                self._suspect = None
                self._waiting.add(rule)
            if self._room[rule] * 2 <= self._works[rule].rule.concurrency:
                self._waiting.add(rule)  # what stands is nearly used up; before, nothing waits that it does not bring
        self._ended.set()
        if self._waiting:
            self._wake.set()

    async def _finish(self) -> None:
        while True:
            await self._ended.wait()
            self._ended.clear()
            outcomes, self._outcomes = self._outcomes, []
            signed: list[Signed] = []
            ended: list[Ended] = []
            begun = now_us()
            for outcome in outcomes:
                item = self._judge(outcome)
                (signed if isinstance(item, Signed) else ended).append(item)  # type: ignore[arg-type]
            if traces.notebook is not None:
                note_execution(traces.notebook, outcomes, begun)
            if signed:  # at once: no halt comes between what was judged and this
                self._report_lost(signed, await self._journal.sign(signed))
                if traces.notebook is not None:
                    note_signing(traces.notebook, signed, begun)
            if ended:
                self._report(ended, await self._journal.end(ended))
            for outcome in outcomes:
                self._in_hand.discard(outcome.task)
            self._wake.set()

    def _judge(self, outcome: Outcome) -> Signed | Ended:
        """Sign a result; decide what becomes of a task that has none."""
        task, failure = outcome.task, outcome.failure
        work = self._works[task.rule]
        if failure is None:
            self._unread.discard(task.rule)
        if self._is_in_doubt(work):
            reason = f"chain {work.chain} halted while it was executed: it is executed again when the chain goes on"
            log.info("result.discarded", task=task.id, rule=task.rule, reason=reason)
            return Ended(task, State.PENDING, reason, uncounted=True)
        if failure is None and outcome.result is None:
            return Ended(task, State.SKIPPED, outcome.skipped)
        if failure is None and outcome.result is not None:
            try:
                return Signed(task, self._signer.sign(outcome.result, task.task_definition_id))
            except ValueError as error:
                failure = BadTaskResult(str(error))
        reason = redacted(str(failure))
        if isinstance(failure, ElectionFailed):
            return self._elect_later(task, reason)
        if task.attempt >= work.rule.max_attempts:
            return Ended(task, State.FAILED, f"attempt {task.attempt}: {reason}")
        pause = min(LONGEST_PAUSE_S, 0.5 * 2**task.attempt) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret
        self._metrics[task.rule].failures.inc()
        log.warning(
            "handler.failed",
            rule=task.rule,
            task=task.id,
            attempt=task.attempt,
            reason=reason,
            pause_s=round(pause, 2),
        )
        asyncio.get_running_loop().call_later(pause, self._on_pending, [task.rule])
        return Ended(task, State.PENDING, reason, not_before=now_us() + int(pause * SECOND))

    def _elect_later(self, task: Claimed, reason: str) -> Ended:
        """Try an election again, however often: a chain that cannot be read must not use up a task's attempts."""
        metrics.election_failures.labels(task.rule).inc()
        level = log.debug if task.rule in self._unread else log.warning
        level("election.failed", rule=task.rule, task=task.id, reason=reason)
        self._unread.add(task.rule)
        pause = ELECTION_PAUSE_S * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret
        asyncio.get_running_loop().call_later(pause, self._on_pending, [task.rule])
        not_before = now_us() + int(pause * SECOND)
        return Ended(task, State.PENDING, reason, not_before=not_before, uncounted=True)

    def _report(self, ended: Sequence[Ended], held: set[int]) -> None:
        for item in ended:
            if item.task.id not in held:
                log.info("result.discarded", task=item.task.id, rule=item.task.rule, reason="the task was taken away")
            elif item.state != State.PENDING:
                self._metrics[item.task.rule].ended(item.state)
                traces.end(item.task.id)
                level = log.error if item.state == State.FAILED else log.info
                level(
                    f"task.{item.state}",
                    task=item.task.id,
                    rule=item.task.rule,
                    chain=item.task.chain,
                    block=item.task.block_number,
                    reason=item.reason,
                )

    def _report_lost(self, signed: Sequence[Signed], states: dict[int, State]) -> None:
        for item in signed:
            state = states.get(item.task.id)
            if state is None:
                log.info("result.discarded", task=item.task.id, rule=item.task.rule, reason="the task was taken away")
            elif state != State.READY:
                self._metrics[item.task.rule].ended(state)
                traces.end(item.task.id)
                level = log.error if state == State.FAILED else log.info
                level(f"task.{state}", task=item.task.id, rule=item.task.rule, reason="same payload as another task")


def _report_expired(rule: str, tasks: Sequence[int]) -> None:
    for task in tasks:
        metrics.of_rule(rule).ended(State.EXPIRED)
        traces.end(task)
        log.warning("task.expired", task=task, rule=rule, reason="older than the rule's max_age when its turn came")
