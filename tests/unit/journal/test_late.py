"""What an outage made late: all runs, only the newest, or none, and what does not run is a row with its reason."""

import random
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from world import CHAIN, CHAIN_ID, START, World, block, chain_row, event, fired

from listener.config import Url
from listener.journal import CatchUp, RuleFacts, Written
from listener.journal.held import IN_GAP
from listener.journal.late import NOT_WANTED, REPLACED
from listener.model import Block, Occasion

AFTER_S = 5
RULES = {
    "blocks": RuleFacts(task_definition_id=1, once=False, catch_up=CatchUp(latest=True, after_s=AFTER_S)),
    "blocks-once": RuleFacts(task_definition_id=2, once=True, catch_up=CatchUp(latest=False, after_s=AFTER_S)),
    "events": RuleFacts(task_definition_id=3, once=True),
    "events-rerun": RuleFacts(task_definition_id=4, once=False),
}
LATEST, NONE, ALL = "blocks", "blocks-once", "events"


@pytest.fixture
async def world(place: Path | Url) -> AsyncIterator[World]:
    async with World(place, RULES) as opened:
        yield opened


async def walk(
    world: World, numbers: Iterable[int], *, head: int, rule: str = LATEST, branch: str = "a", to: int | None = None
) -> Written:
    """Walk on over triggers of one rule while the chain's newest head is the block ``head``."""
    found = [fired(rule, block(number, branch)) for number in numbers]
    return await step(world, found, block(to, branch) if to else found[-1].block, head=head)


async def step(world: World, found: list[Occasion], to: Block, *, head: int, ancestor: Block | None = None) -> Written:
    made = world.step(found, to, ancestor=ancestor)
    return await world.journal.write(replace(made, newest=block(head).timestamp), CHAIN_ID)


def brief(world: World) -> list[tuple[int, str]]:
    """Each row as its block and what becomes of it."""
    return [(row["block_number"], _fate(row)) for row in world.rows().values()]


def _fate(row: dict[str, Any]) -> str:
    return "held" if row["state"] == "pending" and row["not_before"] else str(row["state"])


async def test_under_latest_only_the_newest_late_trigger_waits_and_it_runs_when_the_walk_has_caught_up(
    world: World,
) -> None:
    written = await walk(world, [11, 12, 13], head=30)
    assert (written.expired, written.released) == (2, 0)
    assert brief(world) == [(11, "expired"), (12, "expired"), (13, "held")]
    assert await world.claim(LATEST) == []
    written = await walk(world, [20], head=30)
    assert (written.expired, written.released) == (1, 0)
    assert brief(world)[2:] == [(13, "expired"), (20, "held")]
    written = await walk(world, [25, 26], head=30)
    assert (written.expired, written.released) == (0, 1)
    assert [task.block_number for task in await world.claim(LATEST)] == [20, 25, 26]
    assert {row["error"] for row in world.rows().values() if row["state"] == "expired"} == {REPLACED}
    assert all(row["settled_at"] for row in world.rows().values() if row["state"] == "expired")


async def test_each_that_does_not_run_is_told_of_once(world: World) -> None:
    with capture_logs() as lines:
        for numbers in ([11, 12, 13], [20], [25, 26]):
            await walk(world, numbers, head=30)
    told = [(line["event"], line["block"]) for line in lines if line["event"].startswith("task.")]
    assert told == [("task.expired", 11), ("task.expired", 12), ("task.expired", 13)]


async def test_under_none_no_late_trigger_runs_and_each_is_a_row_with_its_reason(world: World) -> None:
    written = await walk(world, [11, 24, 25, 30], rule=NONE, head=30)
    assert (written.appended, written.expired) == (4, 2)
    assert brief(world) == [(11, "expired"), (24, "expired"), (25, "pending"), (30, "pending")]
    assert [row["error"] for row in world.rows().values()] == [NOT_WANTED, NOT_WANTED, None, None]


async def test_late_is_a_block_that_is_older_than_the_newest_head_by_more_than_the_rule_bears(world: World) -> None:
    await walk(world, [11], head=11 + AFTER_S)
    await walk(world, [12], head=13 + AFTER_S)
    assert [row["late"] for row in world.rows().values()] == [0, 1]


async def test_a_rule_that_wants_all_is_not_concerned(world: World) -> None:
    written = await step(world, [event(ALL, block(11)), fired(LATEST, block(12))], block(12), head=999)
    assert written.expired == 0
    assert brief(world) == [(11, "pending"), (12, "held")]
    assert [row["late"] for row in world.rows().values()] == [0, 1]


async def test_each_outage_has_its_newest(world: World) -> None:
    await walk(world, [11, 12], head=30)
    await walk(world, [30], head=30)
    await walk(world, [31, 32], head=60)
    await walk(world, [60], head=60)
    assert brief(world) == [
        (11, "expired"),
        (12, "pending"),
        (30, "pending"),
        (31, "expired"),
        (32, "pending"),
        (60, "pending"),
    ]


async def test_what_is_held_back_outlives_a_restart_and_gives_way_to_a_newer_one(world: World) -> None:
    await walk(world, [11], head=30)
    await world.restart()
    assert await world.claim(LATEST) == []
    await walk(world, [12], head=30)
    await world.restart()
    written = await walk(world, [], head=30, to=28)
    assert written.released == 1
    assert brief(world) == [(11, "expired"), (12, "pending")]


async def test_what_is_held_back_is_let_go_when_there_is_nothing_left_to_walk(world: World) -> None:
    await walk(world, [11], head=30)
    await world.restart()
    await world.journal.release_late(CHAIN)
    assert [task.block_number for task in await world.claim(LATEST)] == [11]


async def test_letting_go_tells_the_runner(world: World) -> None:
    await walk(world, [11], head=30)
    told: list[Any] = []
    world.journal.on_pending = told.append
    await walk(world, [], head=30, to=30)
    assert told == [None]
    await walk(world, [31], head=50)
    told.clear()
    await world.journal.release_late(CHAIN)
    assert told == [None]


async def test_another_chain_has_no_part_in_it(world: World) -> None:
    await walk(world, [11], head=30)
    await world.journal.begin_chain(chain_row(block(50).cursor, name="l1"), {}, "latest")
    await world.journal.release_late("l1")
    assert brief(world) == [(11, "held")]


async def test_a_reorg_that_takes_the_newest_away_brings_the_one_before_it_back(world: World) -> None:
    await walk(world, [12, 15], head=30)
    await step(world, [], block(14, "b"), head=30, ancestor=block(13))
    assert brief(world) == [(12, "held"), (15, "cancelled")]
    await walk(world, [], branch="b", head=30, to=30)
    assert brief(world) == [(12, "pending"), (15, "cancelled")]


async def test_the_replacing_block_takes_the_place_of_the_one_that_was_held_back(world: World) -> None:
    await walk(world, [12, 15], head=30)
    await step(world, [fired(LATEST, block(15, "b"))], block(16, "b"), head=30, ancestor=block(13))
    assert brief(world) == [(12, "expired"), (15, "cancelled"), (15, "held")]


async def test_a_block_that_returns_is_held_back_again_and_its_substitute_gives_way(world: World) -> None:
    await walk(world, [12, 15], head=30)
    await step(world, [], block(14, "b"), head=30, ancestor=block(13))
    await step(world, [fired(LATEST, block(15))], block(15), head=30, ancestor=block(13))
    assert brief(world) == [(12, "expired"), (15, "held")]
    await walk(world, [], head=30, to=30)
    assert [task.block_number for task in await world.claim(LATEST)] == [15]


async def test_a_late_block_that_returns_after_the_walk_caught_up_runs_at_once(world: World) -> None:
    await walk(world, [12], head=30)
    await walk(world, [], head=30, to=30)
    await step(world, [], block(31, "b"), head=31, ancestor=block(11))
    assert brief(world) == [(12, "cancelled")]
    back = [fired(LATEST, block(12))]
    await step(world, back, block(32), head=32, ancestor=block(11))
    assert brief(world) == [(12, "pending")]


async def test_a_cause_that_was_sent_counts_as_the_newest_and_is_not_executed_again(place: Path | Url) -> None:
    rules = {**RULES, "blocks-once": replace(RULES["blocks-once"], catch_up=CatchUp(latest=True, after_s=AFTER_S))}
    async with World(place, rules) as world:
        await walk(world, [15], rule=NONE, head=15)
        await world.execute(NONE)
        await world.send_all()
        found = [fired(NONE, block(number, "b")) for number in (14, 15)]
        await step(world, found, block(20, "b"), head=40, ancestor=block(12))
        assert brief(world) == [(15, "accepted"), (14, "expired"), (15, "skipped")]
        assert world.row(3)["paired_id"] == 1
        await step(world, [], block(18, "c"), head=40, ancestor=block(17, "b"))
        assert brief(world) == [(15, "accepted"), (14, "expired"), (15, "skipped")]


async def test_age_is_looked_at_when_a_late_one_is_let_go_not_before(world: World) -> None:
    await walk(world, [11], head=30)
    oldest = block(12).timestamp
    assert await world.claim(LATEST, oldest=oldest) == []
    assert brief(world) == [(11, "held")]
    await walk(world, [], head=30, to=30)
    assert await world.claim(LATEST, oldest=oldest) == []
    assert brief(world) == [(11, "expired")]


async def test_confirmations_are_waited_for_as_well(world: World) -> None:
    await walk(world, [20], head=30)
    await walk(world, [], head=30, to=30)
    assert await world.claim(LATEST, released=19) == []
    assert [task.block_number for task in await world.claim(LATEST, released=20)] == [20]


@pytest.mark.parametrize("seed", range(10))
async def test_whatever_the_steps_forks_and_restarts_exactly_the_newest_late_trigger_of_the_chain_waits(
    world: World, seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311 - a test that can be repeated
    head = 45
    chain = [block(START)]
    forks = iter("bcdef")
    branch = "a"
    while chain[-1].number < head:
        at = chain[-1]
        ancestor = None
        if at.number > START + 1 and dice.random() < 0.25 and (other := next(forks, None)):
            branch = other
            chain = chain[: dice.randint(1, len(chain) - 1)]
            ancestor = chain[-1]
        count = min(dice.randint(1, 7), head - chain[-1].number)
        fresh = [block(chain[-1].number + n, branch) for n in range(1, count + 1)]
        found = [fired(LATEST, each) for each in fresh if each.number % 4 == 0]
        await step(world, found, fresh[-1], head=head, ancestor=ancestor)
        chain += fresh
        held = [number for number, fate in brief(world) if fate == "held"]
        assert len(held) <= 1
        if dice.random() < 0.3:
            await world.restart()
    late = [each.number for each in chain[1:] if each.number % 4 == 0 and each.number < head - AFTER_S]
    fresh_ones = [each.number for each in chain[1:] if each.number % 4 == 0 and each.number >= head - AFTER_S]
    canonical = {row["block_number"]: _fate(row) for row in world.rows().values() if row["canonical"]}
    assert canonical == {
        **dict.fromkeys(late[:-1], "expired"),
        **dict.fromkeys([*late[-1:], *fresh_ones], "pending"),
    }


async def test_in_the_gap_after_a_backup_nothing_waits_for_the_end_of_the_catch_up(world: World) -> None:
    world.change("INSERT INTO facts (name, value) VALUES ('gap l2', '20')")
    await world.journal.past(CHAIN)
    written = await walk(world, [11, 20], head=60)
    assert written.expired == 2
    assert {row["error"] for row in world.rows().values()} == {IN_GAP}
    await walk(world, [25], head=60)
    assert brief(world) == [(11, "expired"), (20, "expired"), (25, "held")]


async def test_a_rule_that_wants_all_from_now_on_lets_go_what_was_held_back(world: World) -> None:
    await walk(world, [11], head=30)
    world._rules = {**RULES, LATEST: replace(RULES[LATEST], catch_up=None)}
    await world.restart()
    await walk(world, [12], head=30)
    assert brief(world) == [(11, "pending"), (12, "pending")]


async def test_two_processes_that_walk_in_turn_leave_what_one_would(database: Url) -> None:
    async with World(database, RULES) as one, World(database, RULES) as two:
        await two.journal.release_late(CHAIN)  # it finds none
        await walk(one, [11], head=30)
        await follow(two, one)
        await walk(two, [12], head=30)
        assert brief(one) == [(11, "expired"), (12, "held")]
        await follow(one, two)
        assert (await walk(one, [], head=30, to=30)).released == 1
        assert brief(one) == [(11, "expired"), (12, "pending")]


async def test_a_process_lets_go_at_the_head_what_another_held_back(database: Url) -> None:
    async with World(database, RULES) as one, World(database, RULES) as two:
        await two.journal.release_late(CHAIN)
        await walk(one, [11], head=30)
        await two.journal.release_late(CHAIN)
        assert brief(one) == [(11, "pending")]


async def follow(world: World, other: World) -> None:
    """Stand where another process has walked to."""
    world.cursor = other.cursor
    await world.journal.refresh(CHAIN)
