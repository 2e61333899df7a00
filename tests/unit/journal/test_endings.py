"""A task that ends while no stage has it in hand is told of like any other: one line, one count, one row."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs
from world import CHAIN, CHAIN_ID, START, World, block, event, fired

from listener import metrics
from listener.journal import held
from listener.journal.database import open_engine


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


def hold(world: World) -> None:
    engine = open_engine(world.place)
    with engine.begin() as connection:
        held.hold(connection, "from a backup")


def told(logs: list[Any]) -> list[tuple[str, int]]:
    return [(line["event"], line["task"]) for line in logs if line["event"].startswith("task.")]


def ended(rule: str, state: str) -> float:
    return metrics.registry.get_sample_value("listener_tasks_ended_total", {"rule": rule, "state": state}) or 0.0


async def test_one_whose_attempts_the_process_used_up_by_dying(world: World, logs: list[Any]) -> None:
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)))
    await world.claim("blocks", slots=1)
    before = ended("blocks", "failed")
    assert await world.restart({"blocks": 1}) == (1, 0)
    assert world.states() == ["failed", "pending"]
    assert told(logs) == [("task.failed", 1)]
    assert [line["log_level"] for line in logs if line["event"] == "task.failed"] == ["error"]
    assert ended("blocks", "failed") == before + 1


async def test_one_that_goes_on_after_its_process_died_has_not_ended(world: World, logs: list[Any]) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.claim("blocks")
    await world.restart({"blocks": 2})
    assert (world.states(), told(logs)) == (["pending"], [])


async def test_one_whose_cause_was_sent_from_a_block_that_left(world: World, logs: list[Any]) -> None:
    await world.walk(event("events", block(11)))
    await world.execute("events")
    await world.send_all()
    before = ended("events", "skipped")
    await world.fork(block(START), to=block(12, "b"))
    assert told(logs) == []
    await world.walk(event("events", block(13, "b")))  # the transaction moved; no reorg any longer
    assert world.states() == ["accepted", "skipped"]
    assert told(logs) == [("task.skipped", 2)]
    assert next(line for line in logs if line["event"] == "task.skipped")["reason"] == "already sent as task 1"
    assert ended("events", "skipped") == before + 1


async def test_one_that_came_back_to_find_its_cause_sent_by_the_block_in_between(world: World, logs: list[Any]) -> None:
    await world.walk(event("events", block(11)))
    await world.fork(block(START), event("events", block(11, "b")))
    await world.execute("events")
    await world.send_all()
    before = ended("events", "skipped")
    await world.fork(block(START), event("events", block(11)), to=block(12))
    assert world.states() == ["skipped", "accepted"]
    assert told(logs) == [("task.skipped", 1)]
    assert ended("events", "skipped") == before + 1


async def test_what_was_open_in_a_backup_and_what_fires_in_the_gap_after_it(world: World, logs: list[Any]) -> None:
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)))
    before = ended("blocks", "expired")
    hold(world)
    await world.restart()
    assert await world.journal.resume("latest") == 2
    await world.journal.past(CHAIN)
    await world.journal.end_gap(CHAIN, 40)
    assert told(logs) == [("task.expired", 1), ("task.expired", 2)]
    await world.walk(fired("blocks", block(20)), to=block(30))
    assert told(logs)[2:] == [("task.expired", 3)]
    assert [line["reason"] for line in logs if line["event"] == "task.expired"] == [
        held.IN_BACKUP,
        held.IN_BACKUP,
        held.IN_GAP,
    ]
    assert ended("blocks", "expired") == before + 3
    await world.walk(fired("blocks", block(41)))
    assert (world.states()[-1], len(told(logs))) == ("pending", 3)


async def test_a_journal_that_goes_on_at_its_cursor_ends_nothing(world: World, logs: list[Any]) -> None:
    await world.walk(fired("blocks", block(11)))
    hold(world)
    await world.restart()
    await world.journal.resume("cursor")
    assert told(logs) == []


async def test_a_reorg_does_not_tell_again_of_what_had_ended_before(world: World, logs: list[Any]) -> None:
    await world.walk(event("events", block(11)))
    await world.execute("events")
    await world.send_all()
    await world.fork(block(START), event("events", block(11, "b")), to=block(12, "b"))
    assert told(logs) == [("task.skipped", 2)]
    await world.fork(block(START), event("events", block(11, "c")), to=block(13, "c"))
    assert told(logs) == [("task.skipped", 2), ("task.skipped", 3)]
    await world.journal.write(replace(world.step([], block(14, "c"))), CHAIN_ID)
    assert len(told(logs)) == 2


async def test_one_whose_rule_is_gone(world: World, logs: list[Any]) -> None:
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)))
    world.change("UPDATE tasks SET rule = 'former' WHERE id = 2")
    before = ended("former", "expired")
    (gone,) = await world.journal.end_gone()
    assert (gone.expired, world.states()) == (1, ["pending", "expired"])
    assert told(logs) == [("task.expired", 2)]
    assert ended("former", "expired") == before + 1
    assert await world.journal.end_gone() == []
    assert len(told(logs)) == 1
