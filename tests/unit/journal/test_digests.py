"""One effect, one row: what becomes of a result whose digest another row holds."""

from pathlib import Path

import pytest
from world import SIGNER, START, World, block, event, fired, sent, signed

from listener.config import Url
from listener.journal import RuleFacts, Signed
from listener.model import State, TaskResult

ADVICE = "add what tells this trigger apart to the proof"


async def orphan(world: World, rule: str = "blocks", *, state: State = State.ACCEPTED) -> None:
    """Leave task 1 sent, and its block replaced by one in which nothing happened yet."""
    await world.walk(fired(rule, block(11)))
    await world.execute(rule, proof="same")
    await world.hand_out()
    await world.journal.take_back([sent(1, state)])
    await world.fork(block(START), to=block(11, "b"))


async def test_a_second_task_with_the_same_payload_fails_before_it_is_sent_with_advice(world: World) -> None:
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)))
    first, second = await world.claim("blocks")
    assert await world.sign([first], proof="same") == {1: State.READY}
    assert await world.sign([second], proof="same") == {2: State.FAILED}
    row = world.row(2)
    assert row["error"].startswith("same payload as task 1 of rule blocks")
    assert ADVICE in row["error"]
    assert (row["digest"], row["signature"], row["proof_of_task"]) == (None, None, None)
    assert row["settled_at"] is not None
    assert [parcel.id for parcel in await world.hand_out()] == [1]


async def test_twins_in_one_batch_are_one_ready_and_one_failed(world: World) -> None:
    await world.walk(*[fired("blocks", block(number)) for number in (11, 12, 13)])
    one, two, three = await world.claim("blocks")

    states = await world.journal.sign([signed(one, "same"), signed(two, "same"), signed(three, "other")])
    assert states == {1: State.READY, 2: State.FAILED, 3: State.READY}
    assert world.states() == ["ready", "failed", "ready"]


@pytest.mark.parametrize("how", ["ready", "sent", "accepted"])
async def test_a_canonical_row_keeps_its_digest_whatever_became_of_it(world: World, how: str) -> None:
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)))
    first, second = await world.claim("blocks")
    await world.sign([first], proof="same")
    if how != "ready":
        parcels = await world.hand_out()
        if how == "accepted":
            await world.accept(parcels)
    assert await world.sign([second], proof="same") == {2: State.FAILED}


async def test_another_definition_or_another_data_is_another_digest(world: World) -> None:
    await world.walk(fired("blocks", block(11)), event("events", block(11)))
    assert await world.execute("blocks", proof="same") == {1: State.READY}
    assert await world.execute("events", proof="same") == {2: State.READY}


async def test_the_payload_of_a_sent_orphan_of_the_same_rule_is_skipped_and_named(world: World) -> None:
    await orphan(world)
    await world.walk(fired("blocks", block(12, "b")))
    assert await world.execute("blocks", proof="same") == {2: State.SKIPPED}
    row = world.row(2)
    assert (row["state"], row["error"]) == ("skipped", "same payload as task 1")
    assert (row["digest"], row["signature"]) == (None, None)
    assert await world.hand_out() == []


async def test_an_orphan_whose_send_was_not_answered_goes_out_again_for_the_task_with_the_same_payload(
    world: World,
) -> None:
    """Skipped must not mean lost: the effect is owed, and those bytes bring it about."""
    await orphan(world, state=State.READY)
    assert await world.hand_out() == []
    await world.walk(fired("blocks", block(12, "b")))
    assert await world.execute("blocks", proof="same") == {2: State.SKIPPED}
    (parcel,) = await world.hand_out()
    assert (parcel.id, parcel.payload.proof_of_task, parcel.fresh) == (1, "same", False)
    # … and rests again when the block that owed it is gone too
    await world.journal.take_back([sent(1, State.READY)])
    await world.fork(block(START), to=block(11, "c"))
    assert await world.hand_out() == []


async def test_the_payload_of_a_sent_orphan_of_another_rule_fails(place: Path | Url) -> None:
    facts = {name: RuleFacts(task_definition_id=1, once=False) for name in ("blocks", "twin")}
    async with World(place, facts) as world:
        await orphan(world)
        await world.walk(fired("twin", block(12, "b")))
        (task,) = await world.claim("twin")
        same = SIGNER.sign(TaskResult("same", b"data"), 1)
        assert await world.journal.sign([Signed(task, same)]) == {2: State.FAILED}
        assert "same payload as task 1 of rule blocks" in world.row(2)["error"]


async def test_a_cancelled_row_frees_its_digest(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks", proof="same")
    await world.fork(block(START), fired("blocks", block(11, "b")))
    assert await world.execute("blocks", proof="same") == {2: State.READY}
    assert world.states() == ["cancelled", "ready"]


async def test_a_row_whose_digest_was_taken_while_it_was_cancelled_does_not_come_back_to_be_sent(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks", proof="same")
    await world.fork(block(START), fired("blocks", block(11, "b")))
    await world.execute("blocks", proof="same")
    await world.send_all()
    await world.fork(block(START), fired("blocks", block(11)))
    row = world.row(1)
    # Its own block is back, and the same effect was sent from the other one, which is an orphan now.
    assert (row["state"], row["error"], row["digest"]) == ("skipped", "same payload as task 2", None)
    assert await world.hand_out() == []


async def test_a_row_whose_digest_a_canonical_row_took_ends_as_failed_when_it_returns(world: World) -> None:
    await world.walk(fired("blocks", block(12)))
    await world.execute("blocks", proof="same")
    await world.fork(block(START), fired("blocks", block(11)))
    await world.execute("blocks", proof="same")
    written = await world.walk(fired("blocks", block(12)))
    assert written.appended == 0
    row = world.row(1)
    assert (row["state"], row["digest"], row["signature"]) == ("failed", None, None)
    assert ADVICE in row["error"]
    assert [parcel.id for parcel in await world.hand_out()] == [2]


async def test_of_two_cancelled_rows_with_one_digest_one_comes_back(world: World) -> None:
    await world.walk(fired("blocks", block(12)))
    await world.execute("blocks", proof="same")
    await world.fork(block(START), to=block(11, "b"))  # 1 is cancelled
    await world.fork(block(START), fired("blocks", block(11)))
    await world.execute("blocks", proof="same")
    await world.fork(block(START), to=block(11, "b"))  # 2 is cancelled
    await world.fork(block(START), fired("blocks", block(11)), fired("blocks", block(12)))
    assert sorted(world.states()) == ["failed", "ready"]
    assert len(await world.hand_out()) == 1


async def test_a_lost_claim_in_a_batch_with_a_conflict_is_still_lost(world: World) -> None:
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)), fired("blocks", block(13)))
    one, two, three = await world.claim("blocks")
    await world.fork(block(12), to=block(13, "b"))

    states = await world.journal.sign([signed(one, "same"), signed(two, "same"), signed(three, "other")])
    assert states == {1: State.READY, 2: State.FAILED}
    assert world.states() == ["ready", "failed", "cancelled"]
    assert world.row(3)["digest"] is None


@pytest.mark.parametrize("branch", ["a", "b"])
async def test_of_two_cancelled_rows_with_one_digest_the_one_whose_block_returns_comes_back(
    world: World, branch: str
) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks", proof="same")
    await world.fork(block(START), fired("blocks", block(11, "b")))
    await world.execute("blocks", proof="same")
    await world.fork(block(START), to=block(11, "c"))
    assert world.states() == ["cancelled", "cancelled"]
    await world.fork(block(START), fired("blocks", block(11, branch)))
    assert world.states() == (["ready", "cancelled"] if branch == "a" else ["cancelled", "ready"])
