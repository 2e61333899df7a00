"""A journal that was restored waits for the operator's choice, and keeps to it."""

import pytest
from world import CHAIN, START, World, block, chain_row, event, fired, hashed, query

from listener.errors import ConfigError, NotPossible
from listener.journal import Ended, held, now_us
from listener.journal.database import open_engine
from listener.journal.operator import discard, retry
from listener.model import State

FAR = block(40)  # the head when a journal is resumed


def hold(world: World) -> None:
    engine = open_engine(world.place)
    with engine.begin() as connection:
        held.hold(connection, "from a backup")


async def resume_at_latest(world: World, head: int) -> int:
    """Restore what is there, and go on as a daemon does."""
    hold(world)
    await world.restart()
    expired = await world.journal.resume("latest")
    assert (await world.journal.past(CHAIN)).gap is None
    await world.journal.end_gap(CHAIN, head)
    return expired


async def test_a_held_journal_is_not_gone_on_with_until_a_way_is_chosen(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    hold(world)
    before = world.rows()
    with pytest.raises(NotPossible, match=r"held, from a backup;.*--resume-at latest.*--resume-at cursor"):
        await world.journal.resume(None)
    with pytest.raises(NotPossible, match="held, from a backup"):
        world.decide(retry)
    assert world.rows() == before
    assert await world.journal.resume("cursor") == 0
    assert await world.journal.resume(None) == 0, "the choice is kept"


@pytest.mark.parametrize("way", ["latest", "cursor"])
async def test_a_way_to_go_on_is_chosen_for_a_held_journal_alone(world: World, way: str) -> None:
    with pytest.raises(ConfigError, match="--resume-at: the journal is not held"):
        await world.journal.resume(way)


async def test_at_the_cursor_everything_goes_on(world: World) -> None:
    await world.walk(*[fired("blocks", block(number)) for number in (11, 12)])
    await world.sign(await world.claim("blocks", slots=1))
    before = world.row(1)
    hold(world)
    await world.restart()
    await world.journal.resume("cursor")
    assert (await world.journal.past(CHAIN)) == held.Past()
    (parcel,) = await world.hand_out()
    assert (parcel.payload.signature, parcel.fresh) == (before["signature"], False)
    await world.walk(fired("blocks", block(13)))
    assert world.states() == ["ready", "pending", "pending"]


async def test_at_the_newest_block_nothing_that_was_open_in_the_backup_is_executed_or_sent(world: World) -> None:
    await world.walk(*[fired("blocks", block(number)) for number in (11, 12, 13, 14)])
    await world.sign(await world.claim("blocks", slots=1))
    await world.claim("blocks", slots=1)
    late = await world.claim("blocks", slots=1)
    await world.journal.end([Ended(late[0], State.FAILED, "no price")])
    before = world.row(1)
    assert await resume_at_latest(world, START) == 3
    assert world.states() == ["expired", "expired", "failed", "expired"]
    assert world.row(1)["error"] == held.IN_BACKUP
    assert world.row(1)["signature"] == before["signature"]
    assert await world.claim("blocks") == []
    assert await world.hand_out() == []
    assert await world.sign(late) == {}


async def test_what_fires_in_the_gap_is_expired_and_what_fires_after_it_runs(world: World) -> None:
    await resume_at_latest(world, 20)
    written = await world.walk(*[fired("blocks", block(number)) for number in (11, 20, 21)])
    assert (written.appended, written.expired) == (3, 2)
    assert world.states() == ["expired", "expired", "pending"]
    assert (world.row(1)["error"], world.row(1)["settled_at"] > 0) == (held.IN_GAP, True)
    await world.restart()
    assert (await world.journal.past(CHAIN)).gap == 20
    assert [task.block_number for task in await world.claim("blocks")] == [21]


async def test_a_gap_that_is_walked_again_stays_what_it_is(world: World) -> None:
    await resume_at_latest(world, 20)
    await world.walk(*[fired("blocks", block(number)) for number in (11, 12)])
    world.decide(retry, 1)
    await world.execute("blocks")
    await world.send_all()
    await world.journal.move_chain(chain_row(), [])
    await world.restart()
    await world.journal.past(CHAIN)
    written = await world.walk(*[fired("blocks", block(number)) for number in (11, 12, 13)])
    assert (written.appended, written.expired) == (1, 1)
    assert world.states() == ["accepted", "expired", "expired"]


async def test_a_task_that_was_cancelled_in_the_backup_does_not_come_back_in_the_gap(world: World) -> None:
    """It may have come back, and have been sent, after the backup was taken."""
    await world.walk(*[fired("blocks", block(number)) for number in (11, 12)])
    await world.sign(await world.claim("blocks", slots=1))
    await world.fork(block(START), to=block(12, "b"))
    assert world.states() == ["cancelled", "cancelled"]
    await resume_at_latest(world, 20)
    await world.fork(block(START), to=block(12))
    assert world.states() == ["expired", "expired"]
    assert await world.claim("blocks") == []
    assert await world.hand_out() == []


async def test_a_cause_that_was_on_its_way_in_the_backup_is_not_done_for_the_block_that_replaces_its_own(
    world: World,
) -> None:
    await world.walk(event("events", block(11)))
    await world.execute("events")
    await resume_at_latest(world, START)
    await world.fork(block(START), event("events", block(11, "b")))
    assert world.states() == ["expired", "skipped"]


async def test_another_chain_of_the_same_name_has_no_gap(world: World) -> None:
    await resume_at_latest(world, 100)
    other = chain_row()
    moved = type(other)(
        name=CHAIN, chain_id=other.chain_id, genesis=hashed("another"), cursor=other.cursor, final=other.final
    )
    await world.journal.move_chain(moved, [])
    await world.walk(fired("blocks", block(11)))
    assert world.states() == ["pending"]
    assert query(world.place, "SELECT * FROM facts WHERE name NOT LIKE 'writer %'") == []


async def test_a_task_of_a_held_journal_may_be_put_away(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    hold(world)
    assert world.decide(discard).now == "discarded"
    assert world.row()["settled_at"] <= now_us()
