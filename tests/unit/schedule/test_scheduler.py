"""Each planned time becomes one row, whatever the process and the clock do meanwhile."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from world import ASKED, CHAIN, World, block, chain_row, frontier, until

from listener import metrics, schedule
from listener.config import Rule, Url
from listener.journal import Journal, Plan
from listener.journal.backup import back_up
from listener.journal.plans import IN_GAP
from listener.journal.sides import start
from listener.schedule import Scheduled, Scheduler, Timetable

module = sys.modules[f"{schedule.__name__}.scheduler"]
BEGUN = 1_800_000_000  # a multiple of 30


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.005)


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


class Clock:
    """A clock that is set, and counts who has looked."""

    def __init__(self, now: float = BEGUN) -> None:
        self.now = now
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return self.now

    async def set(self, now: float) -> None:
        """Set it, and wait until the scheduler has looked at it and done what follows."""
        self.now = now
        seen = self.looks
        await until(lambda: self.looks >= seen + 4)  # two looks in each turn; the second turn finds nothing left


def scheduled(every_s: int = 30, **rule: Any) -> Scheduled:
    table = Rule(
        name=ASKED,
        task="tasks.none",
        task_definition_id=5,
        trigger={"type": "schedule", "every": timedelta(seconds=every_s)},
        **rule,
    )
    return Scheduled(table, CHAIN, Timetable(every_s=every_s))


@contextlib.asynccontextmanager
async def running(world: World, clock: Clock, **rule: Any) -> AsyncIterator[None]:
    stop = asyncio.Event()
    stage = asyncio.ensure_future(Scheduler([scheduled(**rule)], world.journal, clock).run(stop))
    try:
        await clock.set(clock.now)
        yield
        assert not stage.done()
    finally:
        stop.set()
        await asyncio.wait_for(stage, 20)


def times(world: World, state: str | None = None) -> list[int]:
    """The planned times that have a row, from the start of the test."""
    return [row["due"] - BEGUN for row in world.rows().values() if state in (None, row["state"])]


async def test_each_planned_time_is_a_pending_task_at_its_time(world: World) -> None:
    clock = Clock()
    async with running(world, clock):
        assert times(world) == []  # the schedule begins now: nothing before counts, nor this very moment
        await clock.set(BEGUN + 29.9)
        assert times(world) == []
        await clock.set(BEGUN + 30)
        await clock.set(BEGUN + 61)
    assert times(world, "pending") == [30, 60]
    row = world.row()
    assert (row["trigger"], row["block_number"], row["ages_from"]) == ("schedule", 10, BEGUN + 30)


async def test_it_sleeps_no_longer_than_to_the_next_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    sleep = asyncio.sleep

    async def watch(seconds: float) -> None:
        if seconds > 1:  # the others are this test's
            slept.append(seconds)
        await sleep(0.001)

    monkeypatch.setattr(module, "LOOK_S", 20)
    monkeypatch.setattr(module.asyncio, "sleep", watch)
    clock = Clock(BEGUN + 5)
    async with running(world, clock):
        await until(lambda: bool(slept))
        clock.now = BEGUN + 27.5
        await until(lambda: slept[-1] == 2.5)
    assert slept[0] == 20


async def test_a_restart_neither_repeats_nor_loses_a_planned_time(world: World) -> None:
    clock = Clock()
    async with running(world, clock):
        await clock.set(BEGUN + 35)
    await world.restart()
    clock.now = BEGUN + 100
    async with running(world, clock):
        pass
    async with running(world, clock):
        await clock.set(BEGUN + 125)
    assert times(world) == [30, 60, 90, 120]
    fingerprint = Timetable(every_s=30).fingerprint
    plans = await world.journal.adopt_schedules({ASKED: fingerprint}, BEGUN + 1000)
    assert plans == {ASKED: Plan(fingerprint, BEGUN + 120)}  # it goes on from there, not from its first start


async def test_a_commit_that_was_lost_is_planned_again_under_the_same_key(world: World) -> None:
    clock = Clock()
    async with running(world, clock):
        await clock.set(BEGUN + 35)
    world.change(f"UPDATE facts SET value = replace(value, '{BEGUN + 30}', '{BEGUN}')")  # noqa: S608 - our own numbers
    async with running(world, clock):
        await clock.set(BEGUN + 65)
    assert times(world) == [30, 60]


@pytest.mark.parametrize(
    ("catch_up", "pending", "expired"),
    [
        ("all", [30, 60, 90, 120, 150, 180, 210, 240, 270, 300], []),
        ("latest", [150, 180, 210, 240, 270, 300], [30, 60, 90, 120]),
        ("none", [180, 210, 240, 270, 300], [30, 60, 90, 120, 150]),
    ],
)
async def test_after_an_outage_catch_up_says_what_becomes_of_late_times(
    world: World, logs: list[Any], catch_up: str, pending: list[int], expired: list[int]
) -> None:
    clock = Clock()
    async with running(world, clock, catch_up=catch_up):
        pass
    clock.now = BEGUN + 300
    async with running(world, clock, catch_up=catch_up):
        pass
    assert (times(world, "pending"), times(world, "expired")) == (pending, expired)
    reasons = {row["error"] for row in world.rows().values() if row["state"] == "expired"}
    assert all(f"catch_up is {catch_up}" in reason for reason in reasons)
    said = [each["task"] for each in logs if each["event"] == "task.expired"]
    assert said == [row["id"] for row in world.rows().values() if row["state"] == "expired"]


async def test_an_outage_longer_than_a_transaction_has_one_newest_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 3)
    clock = Clock()
    async with running(world, clock, every_s=10, catch_up="latest", catch_up_after=timedelta(seconds=1)):
        await clock.set(BEGUN + 109)
    assert (times(world, "expired"), times(world, "pending")) == (list(range(10, 100, 10)), [100])


async def test_a_clock_that_jumps_forward_is_an_outage(world: World) -> None:
    clock = Clock()
    async with running(world, clock, every_s=600, catch_up="latest"):
        await clock.set(BEGUN + 600)
        await clock.set(BEGUN + 4000)
    assert (times(world, "pending"), times(world, "expired")) == ([600, 3600], [1200, 1800, 2400, 3000])


async def test_a_clock_that_is_set_back_repeats_nothing(world: World) -> None:
    clock = Clock()
    async with running(world, clock):
        await clock.set(BEGUN + 95)
        await clock.set(BEGUN + 5)
        await clock.set(BEGUN + 65)
        assert times(world) == [30, 60, 90]
        await clock.set(BEGUN + 125)
    assert times(world) == [30, 60, 90, 120]


async def test_a_clock_that_was_far_ahead_does_not_stop_a_schedule(world: World, logs: list[Any]) -> None:
    clock = Clock()
    counted = metrics.schedule_clock_set_back.labels(ASKED)._value.get()
    async with running(world, clock, every_s=86400, catch_up="none"):
        await clock.set(BEGUN + 10 * 86400)
        await clock.set(BEGUN + 3600)
        before = times(world)
        await clock.set(BEGUN + 86400 + 10)
    assert times(world) == before  # what has a row has it once
    said = [each for each in logs if each["event"] == "schedule.clock_set_back"]
    assert metrics.schedule_clock_set_back.labels(ASKED)._value.get() - counted == len(said) == 1
    async with running(world, clock, every_s=86400, catch_up="none"):
        await clock.set(BEGUN + 11 * 86400)
    assert len(times(world)) == len(before) + 1


async def test_a_changed_schedule_begins_anew_and_one_that_was_away_too(world: World) -> None:
    clock = Clock()
    async with running(world, clock):
        await clock.set(BEGUN + 35)
    clock.now = BEGUN + 300
    async with running(world, clock, every_s=20):
        await clock.set(BEGUN + 321)
    assert times(world) == [30, 320]
    await world.journal.adopt_schedules({}, BEGUN)
    clock.now = BEGUN + 600
    async with running(world, clock, every_s=20):
        await clock.set(BEGUN + 621)
    assert times(world) == [30, 320, 620]


async def test_it_waits_for_its_chains_first_cursor(tmp_path: Path) -> None:
    world = World(tmp_path / "listener.db")
    world.journal = await Journal.open(world.place, world._rules)
    clock = Clock()
    try:
        async with running(world, clock):
            clock.now = BEGUN + 65
            await until(lambda: bool(world.journal._walked))
            await world.journal.begin_chain(chain_row(), {}, "latest")
            world.journal.stand(CHAIN, block(10).cursor, frontier(10))
            await until(lambda: len(times(world)) == 2)
    finally:
        await world.journal.close()
    assert times(world) == [30, 60]


async def test_what_a_backup_does_not_know_has_expired_when_it_goes_on_at_the_newest_block(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    async with running(world, clock):
        await clock.set(BEGUN + 35)
    copy = tmp_path / "copy.db"
    back_up(world.path, copy)
    async with World(copy) as restored:
        monkeypatch.setattr(start, "now_us", lambda: (BEGUN + 60) * 1_000_000)
        await restored.journal.resume("latest")
        clock.now = BEGUN + 65
        async with running(restored, clock):
            await clock.set(BEGUN + 95)
        assert (times(restored, "expired"), times(restored, "pending")) == ([30, 60], [90])
        assert {row["error"] for row in restored.rows().values() if row["due"] == BEGUN + 60} == {IN_GAP}


async def test_two_daemons_plan_each_time_once(database: Url) -> None:
    clock = Clock()
    async with World(database) as one, World(database) as other, running(one, clock), running(other, clock):
        await clock.set(BEGUN + 95)
        await until(lambda: len(times(one)) >= 3)
        await clock.set(BEGUN + 155)
        await until(lambda: len(times(one)) >= 5)
        assert sorted(times(one)) == [30, 60, 90, 120, 150]
