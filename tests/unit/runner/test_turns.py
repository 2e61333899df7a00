"""Only what is this operator's turn is performed; a turn that cannot be read is tried again as long as it takes."""

import asyncio
import dataclasses
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs
from works import Context, good, running, walk, work
from world import SIGNER, World, until

from listener import metrics
from listener import runner as runner_package
from listener.config.election import Fixed
from listener.election.election import FixedElection
from listener.errors import ElectionFailed
from listener.runner import Work

runner_module = sys.modules[f"{runner_package.__name__}.runner"]
OTHER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
OURS = SIGNER.address


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr(runner_module, "ELECTION_PAUSE_S", 0.02)


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


def turns(elect: Any, execute: Any = good, *, custom: bool = False, **rule: Any) -> Work:
    made = work(execute, **rule)
    handler = dataclasses.replace(made.handler, elect=elect) if custom else made.handler
    return dataclasses.replace(made, elect=elect, handler=handler)


async def test_what_is_another_operators_turn_is_skipped_and_not_executed(world: World) -> None:
    executed: list[int] = []

    async def execute(ctx: Context) -> Any:
        executed.append(ctx.trigger.block_number)
        return await good(ctx)

    await walk(world, 4)
    election = FixedElection(Fixed(operators=(OTHER, OURS)))
    async with running(world, turns(election, execute)):
        await until(lambda: sorted(world.states()) == ["ready", "ready", "skipped", "skipped"])
    assert sorted(executed) == [11, 13]
    assert world.row(2)["error"] == f"not elected: it is the turn of operator {OTHER} at block 12"
    assert world.row(2)["attempts"] == 1


async def test_an_address_is_ours_whatever_its_case(world: World) -> None:
    async def elect(_ctx: Context) -> str:
        return OURS.lower()

    await walk(world)
    async with running(world, turns(elect)):
        await until(lambda: world.states() == ["ready"])


def value(name: str) -> float:
    return metrics.registry.get_sample_value(name, {"rule": "blocks"}) or 0


async def test_where_nobody_is_elected_nothing_is_done(world: World) -> None:
    async def elect(_ctx: Context) -> str:
        return "0x" + "0" * 40

    await walk(world)
    async with running(world, turns(elect)):
        await until(lambda: world.states() == ["skipped"])
    assert world.row()["error"] == "not elected: it is the turn of nobody at block 11"


async def test_a_turn_that_cannot_be_read_is_tried_again_and_never_counts(world: World, logs: list[Any]) -> None:
    asked = 0

    async def elect(_ctx: Context) -> str:
        nonlocal asked
        asked += 1
        if asked < 6:
            raise ElectionFailed("the operators cannot be read: it is down")
        return OURS

    counted = ("listener_election_failures_total", "listener_handler_failures_total", "listener_handler_seconds_count")
    before = [value(name) for name in counted]
    await walk(world)
    async with running(world, turns(elect, max_attempts=2)):
        await until(lambda: world.states() == ["ready"])
    assert [value(name) - old for name, old in zip(counted, before, strict=True)] == [5, 0, 1]
    assert (asked, world.row()["attempts"]) == (6, 1)
    said = [(line["log_level"], line["reason"]) for line in logs if line["event"] == "election.failed"]
    assert said == [("warning", "the operators cannot be read: it is down")] + [("debug", said[0][1])] * 4


async def test_while_a_turn_cannot_be_read_its_task_is_pending_with_the_reason(world: World) -> None:
    async def elect(_ctx: Context) -> str:
        raise ElectionFailed("no block yet")

    await walk(world)
    async with running(world, turns(elect, max_attempts=1)):
        await until(lambda: (world.row()["state"], world.row()["error"]) == ("pending", "no block yet"))
    row = world.row()
    assert (row["state"], row["attempts"], row["error"]) == ("pending", 0, "no block yet")


async def test_a_read_that_hangs_is_tried_again_and_one_of_the_users_counts(world: World) -> None:
    async def elect(_ctx: Context) -> str:
        await asyncio.Event().wait()
        return OURS

    await walk(world)
    async with running(world, turns(elect, timeout_s=0.05, max_attempts=1)):
        await until(lambda: "not read within timeout_s = 0.05" in (world.row()["error"] or ""))
    assert world.row()["state"] == "pending"
    async with running(world, turns(elect, timeout_s=0.05, max_attempts=1, custom=True)):
        await until(lambda: world.states() == ["failed"])
    assert world.row()["error"] == "attempt 1: no result within timeout_s = 0.05"


async def broken(_ctx: Context) -> str:
    raise KeyError("operators")


async def senseless(_ctx: Context) -> Any:
    return 7


@pytest.mark.parametrize(
    ("elect", "reason"),
    [(broken, "KeyError: 'operators'"), (senseless, "rule blocks: elect returned 7, which is no address")],
)
async def test_a_users_election_that_fails_is_an_attempt_and_at_last_a_dead_letter(
    world: World, elect: Any, reason: str
) -> None:
    await walk(world)
    async with running(world, turns(elect, max_attempts=2, custom=True)):
        await until(lambda: world.states() == ["failed"])
    assert (world.row()["attempts"], world.row()["error"].startswith(f"attempt 2: {reason}")) == (2, True)


async def test_a_users_election_sees_what_its_handler_sees(world: World) -> None:
    seen: list[Any] = []

    async def elect(ctx: Context) -> str:
        seen.append((ctx.trigger.block_number, ctx.performer, ctx.key))
        return OTHER

    await walk(world)
    async with running(world, turns(elect, custom=True)):
        await until(lambda: world.states() == ["skipped"])
    assert seen == [(11, OURS, world.row()["key"])]
