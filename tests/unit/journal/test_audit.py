"""What a sweep writes: new tasks and its cursor together, and nothing twice."""

import pytest
from world import CHAIN, CHAIN_ID, START, World, block, event

from listener.errors import Overtaken
from listener.journal import Sweep
from listener.model import Occasion


def sweep(*found: Occasion, after: int = START, through: int = 12, bloom_denied: bool = False) -> Sweep:
    return Sweep(chain=CHAIN, after=after, through=through, occasions=found, bloom_denied=bloom_denied)


async def test_what_was_found_is_appended_once_and_the_sweep_stands_after_it(world: World) -> None:
    await world.walk(event("events", block(11)), to=block(12))
    found = [event("events", block(11)), event("events", block(11), tx=2, index=1)]
    assert await world.journal.write_audit(sweep(*found, bloom_denied=True), CHAIN_ID) == 1
    assert [row["log_index"] for row in world.rows().values()] == [0, 1]
    row = await world.journal.audit_row(CHAIN)
    assert (row.audited, row.bloom_denied) == (12, True)
    await world.restart()
    assert await world.journal.write_audit(sweep(*found, after=12), CHAIN_ID) == 0
    assert (await world.journal.audit_row(CHAIN)).bloom_denied


async def test_a_block_that_was_not_walked_adds_nothing_and_the_sweep_stays(world: World) -> None:
    await world.walk(to=block(12))
    assert await world.journal.write_audit(sweep(event("events", block(11, "b")), bloom_denied=True), CHAIN_ID) is None
    assert world.rows() == {}
    row = await world.journal.audit_row(CHAIN)
    assert (row.audited, row.bloom_denied) == (START, False)


async def test_a_sweep_that_begins_elsewhere_is_refused_whole(world: World) -> None:
    await world.walk(to=block(12))
    with pytest.raises(Overtaken, match="not at block 9"):
        await world.journal.write_audit(sweep(event("events", block(11)), after=9), CHAIN_ID)
    assert world.rows() == {}


async def test_a_cause_that_was_sent_from_a_block_that_left_is_not_executed_again(world: World) -> None:
    await world.walk(event("events", block(11)))
    await world.execute("events")
    await world.send_all()
    await world.fork(block(START), to=block(12, "b"))
    assert await world.journal.write_audit(sweep(event("events", block(11, "b"))), CHAIN_ID) == 1
    assert (world.row(2)["state"], world.row(2)["paired_id"]) == ("skipped", 1)
