"""Under ``once`` what was sent for a block that left is not executed again for the block that replaces it."""

import pytest
from world import START, World, block, event, fired, sent

from listener.model import Occasion, State


async def send(world: World, *occasions: Occasion, accepted: bool = True) -> None:
    """Walk to block 11, and send all that happens there."""
    await world.walk(*occasions, to=block(11))
    for rule in {occasion.rule for occasion in occasions}:
        await world.execute(rule)
    parcels = await world.hand_out()
    state = State.ACCEPTED if accepted else State.READY
    await world.journal.take_back([sent(parcel.id, state) for parcel in parcels])


async def replace(world: World, *occasions: Occasion, number: int = 11) -> object:
    return await world.fork(block(START), *occasions, to=block(number, "b"))


async def test_the_moved_transaction_of_a_sent_intent_is_skipped_and_names_the_task(world: World) -> None:
    await send(world, event("events", block(11)))
    written = await replace(world, event("events", block(12, "b"), index=4), number=12)
    assert (written.appended, written.paired) == (1, 1)  # type: ignore[attr-defined]
    row = world.row(2)
    assert (row["state"], row["error"], row["paired_id"]) == ("skipped", "already sent as task 1", 1)
    assert row["settled_at"] is not None
    assert await world.claim("events") == []


async def test_the_transaction_may_come_back_many_blocks_after_the_reorg(world: World) -> None:
    await send(world, event("events", block(11)))
    await replace(world)
    await world.walk(to=block(20, "b"))
    assert (await world.walk(event("events", block(21, "b")))).paired == 1
    assert world.states() == ["accepted", "skipped"]


async def test_another_transaction_is_another_cause(world: World) -> None:
    await send(world, event("events", block(11), tx=1))
    await replace(world, event("events", block(11, "b"), tx=2))
    assert world.states() == ["accepted", "pending"]


async def test_another_rule_with_the_same_transaction_is_another_cause(world: World) -> None:
    await send(world, event("events-rerun", block(11)))
    await replace(world, event("events", block(11, "b")))
    assert world.states() == ["accepted", "pending"]


async def test_an_orphan_that_was_never_sent_hinders_nobody(world: World) -> None:
    await world.walk(event("events", block(11)))
    await world.execute("events")
    await replace(world, event("events", block(11, "b")))
    assert world.states() == ["cancelled", "pending"]


@pytest.mark.parametrize("accepted", [True, False])
async def test_under_rerun_the_replacing_block_fires_again(world: World, accepted: bool) -> None:  # noqa: FBT001
    await send(world, event("events-rerun", block(11)), fired("blocks", block(11)), accepted=accepted)
    written = await replace(world, event("events-rerun", block(11, "b")), fired("blocks", block(11, "b")))
    assert (written.appended, written.paired) == (2, 0)  # type: ignore[attr-defined]
    assert world.states()[2:] == ["pending", "pending"]


async def test_a_block_rule_is_paired_by_its_number(world: World) -> None:
    await send(world, fired("blocks-once", block(11)))
    written = await replace(
        world, fired("blocks-once", block(11, "b")), fired("blocks-once", block(12, "b")), number=12
    )
    assert written.paired == 1  # type: ignore[attr-defined]
    rows = world.rows()
    assert [(row["block_number"], row["state"], row["paired_id"]) for row in rows.values()] == [
        (11, "accepted", None),
        (11, "skipped", 1),
        (12, "pending", None),
    ]


async def test_equal_logs_are_paired_first_then_those_in_the_same_place_and_then_the_rest(world: World) -> None:
    """Of one transaction with four logs the first two changed their content on the way, the others only their place."""
    here = [event("events", block(11), index=n, data=data) for n, data in enumerate((b"one", b"two", b"x", b"y"))]
    await send(world, *here)
    there = [
        event("events", block(11, "b"), index=n, data=data)
        for n, data in enumerate((b"y", b"uno", b"due", b"x"), start=10)
    ]
    written = await replace(world, *there)
    assert written.paired == 4  # type: ignore[attr-defined]
    assert [world.row(number)["paired_id"] for number in (5, 6, 7, 8)] == [4, 2, 1, 3]


async def test_twins_are_paired_one_to_one(world: World) -> None:
    await send(world, *[event("events", block(11), index=n, data=b"twin") for n in range(2)])
    written = await replace(world, *[event("events", block(11, "b"), index=n, data=b"twin") for n in range(3)])
    assert written.paired == 2  # type: ignore[attr-defined]
    assert [world.row(number)["paired_id"] for number in (3, 4, 5)] == [1, 2, None]
    assert world.states()[2:] == ["skipped", "skipped", "pending"]


async def test_logs_that_differ_in_topics_alone_are_not_equal(world: World) -> None:
    here = [event("events", block(11), index=n, topic=topic) for n, topic in enumerate("ab")]
    await send(world, *here)
    await replace(world, *[event("events", block(11, "b"), index=n, topic=topic) for n, topic in enumerate("ba")])
    assert [world.row(number)["paired_id"] for number in (3, 4)] == [2, 1]


async def test_an_unsent_sibling_of_the_same_transaction_is_executed(world: World) -> None:
    """Two logs, one was sent: the one is paired, and the other is still owed."""
    await world.walk(*[event("events", block(11), index=n, data=bytes([n])) for n in range(2)])
    await world.execute("events")
    await world.accept(await world.hand_out(1))
    await replace(world, *[event("events", block(11, "b"), index=n, data=bytes([n])) for n in range(2)])
    assert world.states() == ["accepted", "cancelled", "skipped", "pending"]


@pytest.mark.parametrize("changed", [b"twin", b"other"], ids=["equal", "changed"])
@pytest.mark.parametrize("number", [11, 12])
async def test_of_the_logs_of_a_transaction_the_one_in_the_place_of_the_sent_one_is_paired(
    world: World, changed: bytes, number: int
) -> None:
    """Two logs of one transaction, of which the second alone was sent: the first is still owed, wherever it is now."""
    await world.walk(*[event("events", block(11), index=n, data=b"twin") for n in (4, 5)])
    first, second = await world.claim("events")
    await world.sign([second])
    await world.accept(await world.hand_out())
    there = [event("events", block(number, "b"), index=n, data=changed) for n in (7, 8)]
    await replace(world, *there, number=number)
    assert [(row["state"], row["paired_id"]) for row in world.rows().values()] == [
        ("cancelled", None),
        ("accepted", None),
        ("pending", None),
        ("skipped", second.id),
    ]
    assert first.id == 1


async def test_of_equal_logs_the_one_with_the_index_of_a_sent_one_is_paired_with_it(world: World) -> None:
    """A proof that names the index would be one that was sent already, and so the log that is still owed no task's."""
    await world.walk(*[event("events", block(11), index=n, data=b"twin") for n in range(3)])
    first, second, third = await world.claim("events")
    await world.sign([first, third])
    await world.accept(await world.hand_out())
    await replace(world, *[event("events", block(11, "b"), index=n, data=b"twin") for n in (1, 2, 3)])
    assert [(row["log_index"], row["state"], row["paired_id"]) for row in world.rows().values()] == [
        (0, "accepted", None),
        (1, "cancelled", None),
        (2, "accepted", None),
        (1, "skipped", first.id),
        (2, "skipped", third.id),
        (3, "pending", None),
    ]
    assert second.id == 2


async def test_a_paired_orphan_that_was_not_accepted_goes_out_again_with_identical_bytes(world: World) -> None:
    await world.walk(event("events", block(11)))
    await world.execute("events")
    (first,) = await world.hand_out()
    await world.journal.take_back([sent(1, State.READY)])
    heard: list[bool] = []
    world.journal.on_ready = lambda: heard.append(True)
    await replace(world)
    assert await world.hand_out() == []
    await world.walk(event("events", block(12, "b")))
    assert heard
    (again,) = await world.hand_out()
    assert again.payload == first.payload
    assert not again.fresh


async def test_the_orphan_rests_again_when_the_pairing_rows_own_block_leaves(world: World) -> None:
    await send(world, event("events", block(11)), accepted=False)
    await replace(world, event("events", block(11, "b")))
    await world.fork(block(START), to=block(11, "c"))
    assert await world.hand_out() == []
    await world.fork(block(START), event("events", block(11, "b")))
    assert [parcel.id for parcel in await world.hand_out()] == [1]
    assert world.states() == ["ready", "skipped"]


async def test_a_third_branch_is_paired_with_the_same_orphan(world: World) -> None:
    await send(world, event("events", block(11)))
    await replace(world, event("events", block(11, "b")))
    await world.fork(block(START), event("events", block(11, "c")))
    assert [(row["state"], row["paired_id"]) for row in world.rows().values()] == [
        ("accepted", None),
        ("skipped", 1),
        ("skipped", 1),
    ]


async def test_nothing_is_owed_when_the_first_block_returns(world: World) -> None:
    await send(world, event("events", block(11)))
    await replace(world, event("events", block(11, "b")))
    await world.fork(block(START), event("events", block(11)))
    assert world.states() == ["accepted", "skipped"]
    assert (world.row(1)["orphaned"], world.row(2)["canonical"]) == (0, 0)
    assert await world.hand_out() == []


@pytest.mark.parametrize("payload", [False, True])
async def test_a_cancelled_task_is_not_revived_when_its_cause_was_sent_from_another_block(
    world: World,
    payload: bool,  # noqa: FBT001
) -> None:
    """A → B → A, sent on B: the intent was carried out once, and once it stays."""
    await world.walk(event("events", block(11)))
    if payload:
        await world.execute("events")
    await replace(world, event("events", block(11, "b")))
    await world.execute("events")
    assert [parcel.id for parcel in await world.send_all()] == [2]
    await world.fork(block(START), event("events", block(11)))
    row = world.row(1)
    assert (row["state"], row["paired_id"], row["error"]) == ("skipped", 2, "already sent as task 2")
    assert await world.claim("events") == []
    assert await world.hand_out() == []


async def test_a_cancelled_task_whose_cause_was_sent_elsewhere_has_those_bytes_sent_again(world: World) -> None:
    await world.walk(event("events", block(11)))
    await world.execute("events")
    await replace(world, event("events", block(11, "b")))
    await world.execute("events")
    (first,) = await world.hand_out()
    await world.journal.take_back([sent(2, State.READY)])
    await world.fork(block(START), event("events", block(11)))
    (again,) = await world.hand_out()
    assert again.payload == first.payload


async def test_a_block_rule_under_once_is_not_revived_when_the_other_block_was_sent(world: World) -> None:
    await world.walk(fired("blocks-once", block(11)))
    await replace(world, fired("blocks-once", block(11, "b")))
    await world.execute("blocks-once")
    await world.send_all()
    await world.fork(block(START), fired("blocks-once", block(11)))
    assert world.states() == ["skipped", "accepted"]


async def test_under_rerun_a_cancelled_task_is_revived_though_the_other_block_was_sent(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await replace(world, fired("blocks", block(11, "b")))
    await world.execute("blocks")
    await world.send_all()
    await world.fork(block(START), fired("blocks", block(11)))
    assert world.states() == ["pending", "accepted"]
