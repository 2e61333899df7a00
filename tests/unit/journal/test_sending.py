"""Ready tasks are handed out one by one, and what became of each send is kept."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from world import ALL_RULES, ASKED, CHAIN, NOW, START, World, block, event, fired, sent

from listener.config import Url
from listener.journal import Parcel, now_us
from listener.model import State


async def ready(world: World, count: int, rule: str = "blocks") -> None:
    await world.walk(*[fired(rule, block(START + 1 + number)) for number in range(count)])
    await world.execute(rule)


async def test_the_oldest_are_handed_out_first_and_no_more_than_there_are_slots(world: World) -> None:
    await ready(world, 5)
    assert [parcel.id for parcel in await world.hand_out(2)] == [1, 2]
    assert [parcel.id for parcel in await world.hand_out(2)] == [3, 4]
    assert [parcel.id for parcel in await world.hand_out(2)] == [5]
    assert await world.hand_out(2) == []


async def test_no_row_is_handed_to_two_slots_however_often_one_asks_at_once(world: World) -> None:
    await ready(world, 40)
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(world.hand_out(3)) for _ in range(30)]
    ids = [parcel.id for task in asked for parcel in task.result()]
    assert sorted(ids) == list(range(1, 41))


async def test_a_parcel_is_the_payload_as_it_was_signed(world: World) -> None:
    await ready(world, 1)
    (parcel,) = await world.hand_out()
    row = world.row()
    payload = parcel.payload
    assert (payload.proof_of_task, payload.data, payload.task_definition_id) == (row["key"], b"data", 1)
    assert (payload.performer, payload.digest, payload.signature) == (row["performer"], row["digest"], row["signature"])
    assert (parcel.rule, parcel.chain, parcel.block_number, parcel.sends, parcel.sent_at) == (
        "blocks",
        "l2",
        11,
        0,
        None,
    )
    assert parcel.created_at == row["created_at"]


async def test_an_accepted_send_is_stored_with_its_times(world: World) -> None:
    await ready(world, 1)
    await world.hand_out()
    await world.journal.take_back([sent(1)])
    row = world.row()
    assert (row["state"], row["sends"], row["sent_at"], row["accepted_at"]) == ("accepted", 1, NOW, NOW + 1000)
    assert (row["settled_at"], row["error"], row["already_known"]) == (None, None, 0)
    assert await world.hand_out() == []


async def test_a_failed_send_ends_the_task_with_its_reason(world: World) -> None:
    await ready(world, 1)
    await world.hand_out()
    await world.journal.take_back([sent(1, State.FAILED, error="too large")])
    row = world.row()
    assert (row["state"], row["error"], row["settled_at"], row["accepted_at"]) == (
        "failed",
        "too large",
        NOW + 1000,
        None,
    )
    assert await world.hand_out() == []


async def test_a_send_to_be_repeated_is_handed_out_again_with_the_same_bytes_when_its_pause_is_over(
    world: World,
) -> None:
    await ready(world, 1)
    (first,) = await world.hand_out()
    await world.journal.take_back([sent(1, State.READY, error="busy", not_before=now_us() + 60_000_000)])
    assert await world.hand_out() == []
    await world.restart()
    assert await world.hand_out() == []
    await world.walk(fired("blocks", block(12)))
    world.change("UPDATE tasks SET not_before = 0")
    (again,) = await world.hand_out()
    assert again.payload == first.payload
    assert (again.sends, again.sent_at, again.fresh) == (1, NOW, False)


async def test_the_time_of_the_first_send_is_kept(world: World) -> None:
    await ready(world, 1)
    for _ in range(3):
        (parcel,) = await world.hand_out()
        later = type(sent(1))(id=parcel.id, state=State.READY, sent_at=NOW + parcel.sends, ended_at=NOW + 9)
        await world.journal.take_back([later])
    assert (world.row()["sent_at"], world.row()["sends"]) == (NOW, 3)


async def test_already_known_is_kept_on_the_row(world: World) -> None:
    await ready(world, 1)
    await world.hand_out()
    await world.journal.take_back([sent(1, already_known=True)])
    assert world.row()["already_known"] == 1


# Fresh: finished by this process and not handed out before


async def test_a_row_is_fresh_until_it_was_handed_out(world: World) -> None:
    await ready(world, 1)
    (parcel,) = await world.hand_out()
    assert parcel.fresh
    await world.journal.take_back([sent(1, State.READY)])
    (again,) = await world.hand_out()
    assert not again.fresh


async def test_nothing_found_at_start_is_fresh(world: World) -> None:
    await ready(world, 3)
    await world.hand_out(1)  # and killed before its answer
    assert await world.restart() == (0, 3)
    assert [(parcel.id, parcel.fresh) for parcel in await world.hand_out()] == [(1, False), (2, False), (3, False)]


async def test_what_this_process_finishes_after_a_restart_is_fresh(world: World) -> None:
    await ready(world, 1)
    await world.restart()
    await world.walk(event("events", block(12)))
    await world.execute("events")
    assert [(parcel.id, parcel.fresh) for parcel in await world.hand_out()] == [(1, False), (2, True)]


async def test_what_was_in_hand_when_the_process_died_is_handed_out_again_with_identical_bytes(world: World) -> None:
    await ready(world, 2)
    first = await world.hand_out()
    await world.restart()
    assert [parcel.payload for parcel in await world.hand_out()] == [parcel.payload for parcel in first]


async def test_an_answer_that_comes_after_a_reorg_is_kept(world: World) -> None:
    await ready(world, 1)
    await world.hand_out()
    await world.fork(block(START), to=block(11, "b"))
    await world.journal.take_back([sent(1)])
    row = world.row()
    assert (row["state"], row["orphaned"], row["sends"]) == ("accepted", 1, 1)


async def test_a_row_in_hand_is_not_handed_out_again_when_its_block_left_and_returned(world: World) -> None:
    await ready(world, 1)
    await world.hand_out()
    await world.fork(block(START), to=block(11, "b"))
    await world.fork(block(START), fired("blocks", block(11)))
    assert await world.hand_out() == []
    await world.journal.take_back([sent(1, State.READY)])
    assert [parcel.id for parcel in await world.hand_out()] == [1]


async def test_resting_orphans_do_not_keep_slots_from_others(world: World) -> None:
    await ready(world, 5)
    await world.journal.take_back([sent(parcel.id, State.READY) for parcel in await world.hand_out()])
    await world.fork(block(START), *[fired("blocks", block(number, "b")) for number in range(11, 14)])
    await world.execute("blocks")
    assert [parcel.id for parcel in await world.hand_out(2)] == [6, 7]
    assert [parcel.id for parcel in await world.hand_out(2)] == [8]


async def test_room_that_is_left_is_served_when_something_is_signed(world: World) -> None:
    handed: list[int] = []
    world.journal.on_handed_out = lambda parcels: handed.extend(parcel.id for parcel in parcels)
    assert await world.journal.hand_out(2, 0) == []
    await ready(world, 3)
    assert handed == [1, 2]
    assert [parcel.id for parcel in await world.hand_out()] == [3]


async def test_what_is_on_its_way_to_the_submitter_counts_against_its_room(world: World) -> None:
    await world.journal.hand_out(2, 0)
    await ready(world, 3)  # two of them were handed out, which the submitter has not heard of when it asks
    assert await world.journal.hand_out(2, 0) == []
    assert [parcel.id for parcel in await world.journal.hand_out(2, 2)] == [3]


async def test_room_that_was_taken_back_is_not_served(world: World) -> None:
    handed: list[Parcel] = []
    world.journal.on_handed_out = handed.extend
    await world.journal.hand_out(2, 0)
    await world.journal.hand_out(0, 0)
    await ready(world, 1)
    assert handed == []


async def test_a_reason_of_the_aggregator_that_no_database_can_store_does_not_stop_the_journal(world: World) -> None:
    await ready(world, 1)
    await world.hand_out()
    await world.journal.take_back([sent(1, State.FAILED, error="odd \0 \udcff words")])
    assert world.row()["error"].endswith("words")
    await world.journal.halt("l2", "odd \0 words")


# Nothing goes out for blocks that may have left the chain while nobody looked


@pytest.fixture
async def at_home(place: Path | Url) -> AsyncIterator[World]:
    """A world whose rules know the chain that is followed for them, but for one that is gone."""
    rules = {name: replace(facts, chain=CHAIN) for name, facts in ALL_RULES.items()}
    async with World(place, rules) as opened:
        yield opened


async def test_after_a_start_what_is_ready_goes_out_once_the_cursor_was_compared_with_its_chain(at_home: World) -> None:
    await ready(at_home, 2)
    await at_home.restart(looks=False)
    assert await at_home.hand_out() == []
    woken: list[bool] = []
    at_home.journal.on_ready = lambda: woken.append(True)
    await at_home.fork(block(11), to=block(12, "b"))
    assert woken
    assert [parcel.id for parcel in await at_home.hand_out()] == [1]
    assert [(row["state"], bool(row["orphaned"])) for row in at_home.rows().values()] == [
        ("ready", False),
        ("ready", True),
    ]


async def test_what_no_block_made_and_what_is_of_a_chain_that_nobody_follows_does_not_wait(at_home: World) -> None:
    await ready(at_home, 1)
    await at_home.ask()
    await at_home.execute(ASKED)
    await at_home.restart(looks=False)
    assert [parcel.id for parcel in await at_home.hand_out()] == [2]
    at_home.change("UPDATE tasks SET chain = 'left' WHERE id = 1")
    assert [parcel.id for parcel in await at_home.hand_out()] == [1]


async def test_what_waits_takes_no_place_from_what_does_not(at_home: World) -> None:
    await ready(at_home, 8)
    await at_home.ask()
    await at_home.execute(ASKED)
    await at_home.restart(looks=False)
    assert [parcel.id for parcel in await at_home.hand_out(2)] == [9]


async def test_while_a_chain_is_halted_nothing_of_its_blocks_goes_out(at_home: World) -> None:
    await ready(at_home, 1)
    await at_home.journal.halt(CHAIN, "it left us")
    assert await at_home.hand_out() == []
    await at_home.journal.halt(CHAIN, None)
    assert await at_home.hand_out() == []
    at_home.journal.look(CHAIN)
    assert [parcel.id for parcel in await at_home.hand_out()] == [1]
