"""What a reorg does to the tasks of blocks that leave the chain, and of blocks that come back."""

import pytest
from world import CHAIN, CHAIN_ID, START, World, block, chain_row, event, fired, sent

from listener.journal import Ended
from listener.model import State

PAYLOAD = ("proof_of_task", "data", "performer", "digest", "signature", "task_definition_id")


def payload(row: dict[str, object]) -> dict[str, object]:
    return {name: row[name] for name in PAYLOAD}


async def leave(world: World) -> object:
    """Replace block 11 by another one, in which nothing happens."""
    return await world.fork(block(START), to=block(11, "b"))


async def come_back(world: World, *occasions: object) -> object:
    return await world.fork(block(START), *(occasions or [fired("blocks", block(11))]), to=block(11))  # type: ignore[arg-type]


async def test_pending_work_of_an_orphaned_block_is_cancelled_with_its_reason(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    written = await leave(world)
    assert (written.cancelled, written.orphaned) == (1, 0)  # type: ignore[attr-defined]
    row = world.row()
    assert (row["state"], row["canonical"], row["orphaned"]) == ("cancelled", 0, 0)
    assert row["error"]
    assert row["settled_at"] is not None
    assert await world.claim("blocks") == []


async def test_running_work_of_an_orphaned_block_is_cancelled_and_its_result_discarded(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    claimed = await world.claim("blocks")
    await leave(world)
    assert world.states() == ["cancelled"]
    assert await world.sign(claimed) == {}
    row = world.row()
    assert (row["state"], row["digest"], row["signature"], row["proof_of_task"]) == ("cancelled", None, None, None)
    assert await world.hand_out() == []


async def test_a_ready_task_that_was_not_handed_out_is_cancelled_and_keeps_its_payload(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    before = payload(world.row())
    written = await leave(world)
    assert (written.cancelled, written.orphaned) == (1, 0)  # type: ignore[attr-defined]
    assert world.states() == ["cancelled"]
    assert payload(world.row()) == before
    assert await world.hand_out() == []


async def test_a_task_that_was_handed_out_is_marked_and_rests(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    (parcel,) = await world.hand_out()
    written = await leave(world)
    assert (written.cancelled, written.orphaned) == (0, 1)  # type: ignore[attr-defined]
    await world.journal.take_back([sent(parcel.id, State.READY, error="no answer")])
    row = world.row()
    assert (row["state"], row["orphaned"], row["canonical"], row["sends"]) == ("ready", 1, 0, 1)
    assert await world.hand_out() == []


async def test_a_task_that_was_declined_once_counts_as_sent(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    (parcel,) = await world.hand_out()
    await world.journal.take_back([sent(parcel.id, State.READY, error="declined")])
    assert (await leave(world)).orphaned == 1  # type: ignore[attr-defined]
    assert world.states() == ["ready"]


async def test_an_accepted_task_is_marked_and_stays_accepted(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    await world.send_all()
    assert (await leave(world)).orphaned == 1  # type: ignore[attr-defined]
    row = world.row()
    assert (row["state"], row["orphaned"]) == ("accepted", 1)


async def test_ready_tasks_found_at_start_count_as_sent(world: World) -> None:
    await world.walk(fired("blocks", block(11)), event("events", block(12)))
    await world.execute("blocks")
    await world.execute("events")
    assert await world.restart() == (0, 2)
    written = await world.fork(block(START), to=block(11, "b"))
    assert (written.cancelled, written.orphaned) == (0, 2)
    assert world.states() == ["ready", "ready"]
    assert await world.hand_out() == []


async def test_blocks_at_and_below_the_ancestor_are_left_alone(world: World) -> None:
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)), fired("blocks", block(13)))
    written = await world.fork(block(12), to=block(13, "b"))
    assert written.cancelled == 1
    assert world.states() == ["pending", "pending", "cancelled"]
    assert world.remembered() == [10, 11, 12, 13]


async def test_a_reorg_to_a_shorter_chain_cancels_all_above_it(world: World) -> None:
    await world.walk(*[fired("blocks", block(number)) for number in (11, 12, 13)])
    await world.fork(block(START), to=block(11, "b"))
    assert world.states() == ["cancelled"] * 3
    assert world.remembered() == [10, 11]
    assert world.written_cursor() == block(11, "b").cursor


@pytest.mark.parametrize("state", [State.SKIPPED, State.FAILED])
async def test_what_ended_unsent_stays_ended(world: World, state: State) -> None:
    await world.walk(fired("blocks", block(11)))
    (task,) = await world.claim("blocks")
    await world.journal.end([Ended(task, state, "because")])
    written = await leave(world)
    assert (written.cancelled, written.orphaned) == (0, 0)  # type: ignore[attr-defined]
    await come_back(world)
    row = world.row()
    assert (row["state"], row["orphaned"], row["canonical"], row["error"]) == (state, 0, 1, "because")


# A → B → A


async def test_a_task_without_a_payload_returns_as_pending_when_its_block_returns(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await leave(world)
    written = await come_back(world)
    assert (written.revived, written.appended) == (1, 0)  # type: ignore[attr-defined]
    row = world.row()
    assert (row["state"], row["canonical"], row["error"], row["settled_at"]) == ("pending", 1, None, None)
    assert [task.id for task in await world.claim("blocks")] == [1]


async def test_a_task_returns_though_its_rule_finds_nothing_there_any_more(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await leave(world)
    await world.fork(block(START), to=block(12))
    assert world.states() == ["pending"]


async def test_a_task_with_a_payload_returns_as_ready_with_identical_bytes(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    before = payload(world.row())
    await leave(world)
    written = await come_back(world)
    assert written.revived == 1  # type: ignore[attr-defined]
    row = world.row()
    assert (row["state"], row["error"], row["settled_at"], payload(row)) == ("ready", None, None, before)
    (parcel,) = await world.hand_out()
    assert (parcel.payload.digest, parcel.payload.signature) == (before["digest"], before["signature"])
    assert parcel.fresh  # it never left


async def test_the_wake_up_of_the_submitter_comes_with_a_revived_payload(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    await leave(world)
    heard: list[bool] = []
    world.journal.on_ready = lambda: heard.append(True)
    await come_back(world)
    assert heard


async def test_the_mark_of_a_sent_task_is_lifted_and_the_identical_bytes_go_out_again(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    (first,) = await world.hand_out()
    await world.journal.take_back([sent(first.id, State.READY, error="no answer")])
    await leave(world)
    assert await world.hand_out() == []
    await come_back(world)
    row = world.row()
    assert (row["orphaned"], row["canonical"], row["state"]) == (0, 1, "ready")
    (again,) = await world.hand_out()
    assert again.payload == first.payload
    assert not again.fresh


async def test_an_accepted_task_is_not_sent_again_when_its_block_returns(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    await world.send_all()
    await leave(world)
    await come_back(world)
    row = world.row()
    assert (row["state"], row["orphaned"], row["canonical"]) == ("accepted", 0, 1)
    assert await world.hand_out() == []
    assert await world.claim("blocks") == []


async def test_a_claim_from_before_the_reorg_is_lost_even_when_the_block_has_returned(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    old = await world.claim("blocks")
    await leave(world)
    await come_back(world)
    assert await world.sign(old, proof="of the old claim") == {}
    new = await world.claim("blocks")
    assert await world.sign(old, proof="of the old claim") == {}
    assert await world.sign(new, proof="of the new claim") == {1: State.READY}
    assert world.row()["proof_of_task"] == "of the new claim"


async def test_back_and_forth_many_times_ends_where_it_began(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    before = payload(world.row())
    for _ in range(5):
        await leave(world)
        await come_back(world)
    assert (world.states(), payload(world.row())) == (["ready"], before)
    assert len(await world.hand_out()) == 1


async def test_a_block_that_returns_after_a_restart_is_the_same_as_without_one(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    before = payload(world.row())
    await leave(world)
    await world.restart()
    await come_back(world)
    assert (world.states(), payload(world.row())) == (["ready"], before)


async def test_only_the_blocks_that_are_walked_again_bring_their_tasks_back(world: World) -> None:
    await world.walk(*[fired("blocks", block(number)) for number in (11, 12, 13)])
    await world.fork(block(START), to=block(11, "b"))
    await world.fork(block(START), to=block(12))
    assert world.states() == ["pending", "pending", "cancelled"]
    await world.walk(to=block(13))
    assert world.states() == ["pending"] * 3


async def test_a_step_without_its_headers_revives_by_what_fired(world: World) -> None:
    """A range names few headers; the blocks of its triggers are known all the same."""
    await world.walk(fired("blocks", block(11)), to=block(12))
    await world.fork(block(START), to=block(11, "b"))
    step = world.step([fired("blocks", block(11))], block(13), ancestor=block(START))
    bare = type(step)(
        chain=CHAIN,
        after=step.after,
        cursor=step.cursor,
        frontier=step.frontier,
        ancestor=step.ancestor,
        blocks=[block(13)],
        occasions=step.occasions,
    )
    assert (await world.journal.write(bare, CHAIN_ID)).revived == 1


# An operator's rewind


async def test_a_rewind_cancels_what_was_not_sent_and_marks_what_was(world: World) -> None:
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)), fired("blocks", block(13)))
    await world.sign((await world.claim("blocks"))[2:])
    await world.send_all()
    assert await world.journal.move_chain(chain_row(block(11).cursor), []) == (1, 1)
    assert world.states() == ["running", "cancelled", "accepted"]
    assert world.written_cursor() == block(11).cursor
    assert world.remembered() == [11]


async def test_a_rewind_takes_blocks_off_that_the_chain_no_longer_holds(world: World) -> None:
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)), to=block(13))
    assert await world.journal.move_chain(chain_row(block(20, "b").cursor), [block(11).hash]) == (1, 0)
    assert world.states() == ["cancelled", "pending"]


async def test_nothing_is_signed_twice_when_a_rewound_chain_is_walked_again(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    before = payload(world.row())
    await world.journal.move_chain(chain_row(block(START).cursor), [])
    world.cursor = block(START).cursor
    written = await world.walk(fired("blocks", block(11)))
    assert (written.revived, written.appended) == (1, 0)
    assert (world.states(), payload(world.row())) == (["ready"], before)
