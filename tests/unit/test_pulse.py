"""The daemon measures itself: whether its loop is on time, and what waits in its journal."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs
from world import World, block, fired, until

from listener import metrics, pulse
from listener.errors import JournalError
from listener.pulse import Pulse


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_S", "MEASURE_S", "STALLED_S"):
        monkeypatch.setattr(pulse, name, 0.02)
    monkeypatch.setattr(pulse, "SHARE", 1)


@asynccontextmanager
async def beating(world: World) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(Pulse(world.journal).run(stop))
        yield
        stop.set()


def value(name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


async def test_a_loop_that_is_kept_from_turning_is_timed_and_told(world: World) -> None:
    before = value("listener_loop_stall_seconds_sum", loop="main")
    looks = value("listener_loop_stall_seconds_count", loop="main")
    with capture_logs() as logs:
        async with beating(world):
            await until(lambda: value("listener_loop_stall_seconds_count", loop="main") > looks)
            time.sleep(0.2)  # noqa: ASYNC251 - the fault
            await until(lambda: any(line["event"] == "loop.stalled" for line in logs))
    assert value("listener_loop_stall_seconds_sum", loop="main") > before + 0.1


async def test_what_waits_is_measured_again_and_again(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    async with beating(world):
        await until(lambda: value("listener_tasks_open", rule="blocks", state="pending") == 1)
        await world.execute("blocks")
        await until(lambda: value("listener_tasks_open", rule="blocks", state="ready") == 1)


async def test_a_journal_that_cannot_be_read_for_a_moment_is_measured_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, failures = world.journal.measure, 0

    async def fails_twice() -> None:
        nonlocal failures
        if failures < 2:
            failures += 1
            raise JournalError("it is away")
        await measure()

    monkeypatch.setattr(world.journal, "measure", fails_twice)
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)))
    async with beating(world):
        await until(lambda: value("listener_tasks_open", rule="blocks", state="pending") == 2)
    assert failures == 2
