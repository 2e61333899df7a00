"""Old rows go, a batch at a time; what may still matter stays, and what is gone does not fire again."""

import asyncio
from datetime import timedelta

import pytest
from world import CHAIN, START, World, block, chain_row, event, fired, hashed, query, until

from listener.journal import Ended, Parcel, held, now_us
from listener.journal import keeper as keeping
from listener.journal.keeper import Keeper
from listener.journal.operator import discard, retry
from listener.journal.removal import BATCH
from listener.model import State

LATER = 2**60  # whatever ended, ended before this


async def done(world: World, *numbers: int, final: int = 1000) -> list[Parcel]:
    """Accepted tasks of these blocks, which are final, and one pending task after them."""
    await world.walk(*[fired("blocks", block(number)) for number in numbers])
    await world.sign(await world.claim("blocks", slots=len(numbers)))
    parcels = await world.hand_out(len(numbers))
    await world.accept(parcels)
    await world.walk(fired("blocks", block(numbers[-1] + 1)), final=final)
    return parcels


async def remove_all(world: World, oldest: int = LATER) -> int:
    count, last = 0, 0
    while True:
        removed = await world.journal.remove_tasks(last, oldest)
        count += removed.count
        if removed.last is None:
            return count
        last = removed.last


async def test_what_ended_before_goes_and_what_ended_since_stays(world: World) -> None:
    await done(world, 11, 12, 13)
    world.change("UPDATE tasks SET accepted_at = 1000 WHERE id = 1")
    world.change("UPDATE tasks SET accepted_at = 999 WHERE id = 2")
    assert await remove_all(world, oldest=1000) == 1
    assert list(world.rows()) == [1, 3, 4]


async def test_open_and_failed_tasks_stay_however_old_they_are(world: World) -> None:
    await world.walk(*[fired("blocks", block(number)) for number in range(11, 19)])
    claimed = await world.claim("blocks", slots=5)
    await world.sign(claimed[:2])
    await world.accept(await world.hand_out(1))
    await world.journal.end([Ended(claimed[2], State.FAILED, "no"), Ended(claimed[3], State.SKIPPED, "nothing to do")])
    world.decide(discard, 6)
    await world.walk(to=block(19), final=1000)
    assert world.states() == [
        *("accepted", "ready", "failed", "skipped", "running", "discarded", "pending", "pending"),
    ]
    assert await remove_all(world) == 3
    assert world.states() == ["ready", "failed", "running", "pending", "pending"]


async def test_tasks_of_blocks_that_are_not_final_stay(world: World) -> None:
    await done(world, 11, 12, 13, final=12)
    assert await remove_all(world) == 2
    assert list(world.rows()) == [3, 4]


async def test_events_stay_until_their_logs_were_read_again(world: World) -> None:
    await world.walk(event("events", block(11)), event("events", block(12), tx=2))
    await world.execute("events")
    await world.send_all()
    await world.walk(fired("blocks", block(13)), final=1000)
    world.change("UPDATE chains SET audited = 11")
    assert await remove_all(world) == 1
    assert list(world.rows()) == [2, 3]


async def test_what_a_reorg_orphaned_stays_with_its_pair(world: World) -> None:
    await world.walk(event("events", block(11)))
    await world.execute("events")
    await world.send_all()
    await world.fork(block(START), event("events", block(11, "b")), fired("blocks", block(11, "b")))
    await world.execute("blocks")
    await world.send_all()
    await world.walk(fired("blocks", block(12, "b")), final=1000)
    world.change("UPDATE chains SET audited = 1000")
    assert world.states() == ["accepted", "skipped", "accepted", "pending"]
    assert await remove_all(world) == 1
    assert world.states() == ["accepted", "skipped", "pending"]


async def test_an_id_is_given_once(world: World) -> None:
    """SQLite gives the highest id anew once its row is gone; what is remembered of a task goes by its id."""
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    await world.send_all()
    await world.walk(to=block(12), final=1000)
    assert await remove_all(world) == 0
    await world.walk(fired("blocks", block(13)), final=1000)
    assert await remove_all(world) == 1
    assert list(world.rows()) == [2]


async def test_replaced_payloads_go_with_their_task(world: World) -> None:
    await done(world, 11, 12)
    for task_id in (1, 2):
        world.decide(retry, task_id, re_execute=True)
    claimed = await world.claim("blocks", slots=1)
    await world.sign(claimed, proof="another")
    await world.send_all()
    assert world.states() == ["accepted", "pending", "pending"]
    assert await remove_all(world) == 1
    assert query(world.place, "SELECT task_id FROM replaced") == [{"task_id": 2}]


async def test_a_batch_is_small_and_the_next_one_goes_on_after_it(world: World) -> None:
    await done(world, *range(11, 11 + 2 * BATCH))
    first = await world.journal.remove_tasks(0, LATER)
    assert (first.count, first.last) == (BATCH, BATCH)
    second = await world.journal.remove_tasks(first.last or 0, LATER)
    assert (second.count, second.last) == (BATCH, 2 * BATCH)
    assert (await world.journal.remove_tasks(second.last or 0, LATER)).last is None
    assert world.states() == ["pending"]


async def test_looking_ends_where_all_that_follows_is_too_young(world: World) -> None:
    await done(world, *range(11, 11 + 2 * BATCH))
    assert (await world.journal.remove_tasks(0, 1000)).last is None


# What is gone does not fire again


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_trigger_whose_row_is_gone_does_not_fire_again_after_a_rewind(world: World, restarted: bool) -> None:  # noqa: FBT001 - a parameter of the test
    await done(world, 11, 12)
    assert await remove_all(world) == 2
    await world.journal.move_chain(chain_row(), [])
    if restarted:
        await world.restart()
        await world.journal.past(CHAIN)
    world.cursor = block(START).cursor
    written = await world.walk(*[fired("blocks", block(number)) for number in (11, 12, 13, 14)])
    assert (written.appended, written.expired) == (3, 2)
    assert [(row["block_number"], row["state"]) for row in world.rows().values()] == [
        *((13, "pending"), (11, "expired"), (12, "expired"), (14, "pending")),
    ]
    assert world.row(4)["error"] == held.IN_REMOVED


async def test_what_was_cancelled_and_is_still_there_comes_back_when_its_block_does(world: World) -> None:
    await world.walk(*[fired("blocks", block(number)) for number in (11, 12)])
    await world.claim("blocks", slots=1)
    await world.journal.move_chain(chain_row(), [])
    assert world.states() == ["cancelled", "cancelled"]
    world.change("INSERT INTO facts VALUES ('removed l2', '50')")
    await world.journal.past(CHAIN)
    world.cursor = block(START).cursor
    await world.walk(*[fired("blocks", block(number)) for number in (11, 12)])
    assert world.states() == ["pending", "pending"]


async def test_another_chain_of_the_same_name_has_lost_no_rows(world: World) -> None:
    await done(world, 11, 12)
    await remove_all(world)
    row = chain_row()
    other = type(row)(name=CHAIN, chain_id=row.chain_id, genesis=hashed("other"), cursor=row.cursor, final=0)
    await world.journal.move_chain(other, [])
    world.cursor = block(START).cursor
    assert (await world.walk(fired("blocks", block(11, "b")))).expired == 0


async def test_the_highest_block_is_remembered_whatever_the_order_of_the_rows(world: World) -> None:
    await done(world, 11, 12, 13)
    world.change("UPDATE tasks SET block_number = 900 WHERE id = 1")
    await remove_all(world)
    assert (await world.journal.past(CHAIN)).removed == 900
    await done(world, 15, 16)
    await remove_all(world)
    assert (await world.journal.past(CHAIN)).removed == 900


# Incidents, and the stage


async def test_incidents_that_ended_go_and_those_that_last_stay(world: World) -> None:
    values = ", ".join(f"('gap', 'l2', 5, {ended}, 'x')" for ended in ("NULL", "10", "20"))
    world.change(f"INSERT INTO incidents (kind, chain, started_at, ended_at, detail) VALUES {values}")  # noqa: S608 - our own words
    assert await world.journal.remove_incidents(20) == 1
    assert [row["ended_at"] for row in query(world.place, "SELECT ended_at FROM incidents")] == [None, 20]


async def test_the_keeper_removes_what_is_older_than_it_is_told_and_ends_when_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "LOOK_S", 0.01)
    await done(world, *range(11, 11 + BATCH + 5))
    day = 24 * 3600 * 1_000_000
    world.change(f"UPDATE tasks SET created_at = created_at - {3 * day}")  # noqa: S608 - our own words
    world.change(f"UPDATE tasks SET accepted_at = {now_us() - 2 * day} WHERE id > 1 AND state = 'accepted'")  # noqa: S608
    world.change(f"UPDATE tasks SET accepted_at = {now_us() - day // 2} WHERE id = 1")  # noqa: S608
    values = f"('gap', 'l2', 5, {now_us() - 2 * day}, 'x')"
    world.change(f"INSERT INTO incidents (kind, chain, started_at, ended_at, detail) VALUES {values}")  # noqa: S608
    stop = asyncio.Event()
    running = asyncio.create_task(Keeper(world.journal, timedelta(days=1)).run(stop))
    await until(lambda: world.states() == ["accepted", "pending"], within_s=60)
    await until(lambda: not query(world.place, "SELECT id FROM incidents"))
    await world.walk(fired("blocks", block(900)))  # others go on meanwhile
    stop.set()
    await asyncio.wait_for(running, 20)
    assert 1 in world.rows()
