"""
The stage that plans the tasks of schedule rules: at its time each becomes a row, once, whatever the clock does.

The journal holds up to which time a rule is planned, so that a restart goes on from there. What lies between and is
older than ``catch_up_after`` was missed in an outage, and ``catch_up`` says what becomes of it.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from listener import metrics
from listener.config import Rule
from listener.journal import Asked, Journal, Plan
from listener.schedule.timetable import Timetable

log = structlog.get_logger()

LOOK_S = 1.0  # between two looks at the clock, which may be set while we sleep
BATCH = 64  # planned times in one transaction
FAR_S = 3600  # planned so far ahead, the clock was wrong when that was written


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A schedule rule and its chain."""

    rule: Rule
    chain: str
    timetable: Timetable


class Scheduler:
    """Plans what is due; ``clock`` gives Unix seconds."""

    name = "scheduler"

    def __init__(
        self, scheduled: Sequence[Scheduled], journal: Journal, clock: Callable[[], float] = time.time
    ) -> None:
        self._scheduled = scheduled
        self._journal = journal
        self._clock = clock
        self._plans: dict[str, Plan] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Plan until asked to stop; what is written is written whole, so that stopping need not wait for it."""
        async with asyncio.TaskGroup() as group:
            planning = group.create_task(self._serve())
            await stop.wait()
            planning.cancel()

    async def _serve(self) -> None:
        fingerprints = {each.rule.name: each.timetable.fingerprint for each in self._scheduled}
        self._plans = await self._journal.adopt_schedules(fingerprints, int(self._clock()))
        async with asyncio.TaskGroup() as group:  # a chain without a cursor keeps its own rules waiting, not others
            for each in self._scheduled:
                group.create_task(self._keep(each))

    async def _keep(self, scheduled: Scheduled) -> None:
        while True:
            now = int(self._clock())
            self._mind_the_clock(scheduled, now)
            await self._plan(scheduled, now)
            ahead = scheduled.timetable.next_after(self._plans[scheduled.rule.name].planned) - self._clock()
            await asyncio.sleep(min(max(ahead, 0), LOOK_S))

    def _mind_the_clock(self, scheduled: Scheduled, now: int) -> None:
        """
        Go back with a clock that was far ahead; one that was set back a little is waited for.

        Nothing is planned a second time for that: a planned time has one key.
        """
        plan = self._plans[scheduled.rule.name]
        if plan.planned > now + FAR_S:
            metrics.schedule_clock_set_back.labels(scheduled.rule.name).inc()
            log.warning("schedule.clock_set_back", rule=scheduled.rule.name, by_s=plan.planned - now)
            self._plans[scheduled.rule.name] = Plan(plan.fingerprint, now, min(plan.gap, now))

    async def _plan(self, scheduled: Scheduled, now: int) -> None:
        """Write every planned time up to now."""
        rule, plan = scheduled.rule, self._plans[scheduled.rule.name]
        while (moment := scheduled.timetable.next_after(plan.planned)) <= now:
            asked: list[Asked] = []
            while moment <= now and len(asked) < BATCH:
                following = scheduled.timetable.next_after(moment)
                asked.append(self._asked(scheduled, plan, moment, following, now))
                plan, moment = Plan(plan.fingerprint, moment, plan.gap), following
            await self._journal.plan(rule.name, asked, plan)
            self._plans[rule.name] = plan

    @staticmethod
    def _asked(scheduled: Scheduled, plan: Plan, moment: int, following: int, now: int) -> Asked:
        rule = scheduled.rule
        oldest = now - rule.catch_up_after.total_seconds()
        is_newest_late = following >= oldest
        expired = plan.excuse(moment)
        if expired is None and moment < oldest and rule.catch_up != "all":
            if rule.catch_up == "none":
                expired = f"found {now - moment} s after its time, and catch_up is none"
            elif not is_newest_late:
                expired = f"found {now - moment} s after its time, and catch_up is latest: a newer one runs"
        return Asked(
            rule=rule.name, chain=scheduled.chain, trigger="schedule", cause=str(moment), due=moment, expired=expired
        )
