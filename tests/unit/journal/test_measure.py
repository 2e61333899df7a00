"""What waits is counted from the rows, by rule and state, with the age of the oldest."""

from world import START, World, block, event, fired

from listener import metrics
from listener.journal import Ended
from listener.model import State


def value(name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def open_tasks(rule: str) -> list[float | None]:
    return [value("listener_tasks_open", rule=rule, state=state) for state in metrics.OPEN]


async def test_what_waits_and_what_failed_is_counted_also_after_a_restart(world: World) -> None:
    await world.walk(*[fired("blocks", block(START + number)) for number in (1, 2, 3, 4)], event("events", block(15)))
    first, *others = await world.claim("blocks", slots=3)
    await world.journal.end([Ended(first, State.FAILED, "no")])
    await world.sign(others)
    await world.claim("events")
    await world.restart()
    world.change("UPDATE tasks SET created_at = created_at - 60000000, settled_at = settled_at - 120000000")
    await world.claim("events")
    await world.journal.measure()
    assert world.states() == ["failed", "ready", "ready", "pending", "pending"]
    assert open_tasks("blocks") == [1, 0, 2]
    assert open_tasks("events") == [1, 0, 0]
    assert value("listener_dead_letters", rule="blocks") == 1
    assert value("listener_dead_letters", rule="events") == 0
    assert 60 <= (value("listener_outbox_age_seconds") or 0) < 100
    assert 120 <= (value("listener_dead_letter_age_seconds") or 0) < 160


async def test_what_waits_no_longer_counts_no_longer(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    world.change("UPDATE tasks SET created_at = created_at - 60000000")
    await world.journal.measure()
    assert open_tasks("blocks") == [0, 0, 1]
    await world.send_all()
    await world.journal.measure()
    assert open_tasks("blocks") == [0, 0, 0]
    assert value("listener_outbox_age_seconds") == 0


async def test_an_orphan_that_rests_makes_the_outbox_no_older(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    await world.hand_out()
    await world.fork(block(START), to=block(12, "b"))
    world.change("UPDATE tasks SET created_at = created_at - 60000000")
    await world.journal.measure()
    assert (world.states(), open_tasks("blocks")) == (["ready"], [0, 0, 1])
    assert value("listener_outbox_age_seconds") == 0


async def test_a_rule_that_is_gone_from_the_configuration_still_counts(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    world.change("UPDATE tasks SET rule = 'former'")
    await world.journal.measure()
    assert open_tasks("former") == [1, None, None]
    world.change("DELETE FROM tasks")
    await world.journal.measure()
    assert open_tasks("former") == [None, None, None]
