"""No way leads to a second signature for one key, but the one that an operator takes by name."""

import random

import pytest
from world import START, World, block, event, query, sent, signed

from listener.errors import NotPossible
from listener.journal import Claimed
from listener.journal.operator import discard, retry
from listener.model import State


async def begun(world: World) -> Claimed:
    """An event's task in a handler's hands."""
    await world.walk(event("events", block(11)))
    (task,) = await world.claim("events")
    return task


async def signs_nothing(world: World, *late: Claimed) -> None:
    """Check that late results change nothing, whatever they are."""
    before = world.rows()
    for number, task in enumerate(late):
        await world.journal.sign([signed(task, f"late {number}")])
    assert world.rows() == before


async def test_of_two_runs_of_a_handler_only_the_one_that_holds_the_task_is_signed(world: World) -> None:
    first = await begun(world)
    await world.fork(block(START), to=block(11, "b"))
    await world.fork(block(START), event("events", block(11)))  # it is back, and claimed anew
    (second,) = await world.claim("events")
    assert second.claim != first.claim
    await signs_nothing(world, first)
    assert await world.sign([second], "second") == {1: State.READY}
    await signs_nothing(world, first, second)


async def test_a_result_signs_once_however_often_it_comes(world: World) -> None:
    task = await begun(world)
    assert await world.sign([task], "first") == {1: State.READY}
    await signs_nothing(world, task)
    parcels = await world.hand_out()
    await signs_nothing(world, task)
    await world.accept(parcels)
    await signs_nothing(world, task)


async def test_a_result_from_before_a_restart_signs_nothing(world: World) -> None:
    task = await begun(world)
    await world.restart()
    await signs_nothing(world, task)
    again = await world.claim_suspect("events")
    assert again is not None
    await signs_nothing(world, task)
    assert await world.sign([again], "again") == {1: State.READY}
    await signs_nothing(world, task, again)


async def test_a_running_or_ready_task_is_not_retried_beside_itself(world: World) -> None:
    task = await begun(world)
    with pytest.raises(NotPossible):
        world.decide(retry, re_execute=True)
    await world.sign([task], "first")
    with pytest.raises(NotPossible):
        world.decide(retry, re_execute=True)
    assert world.row()["proof_of_task"] == "first"


async def test_a_row_that_has_a_signature_gets_no_other_even_where_its_state_and_claim_would_let_it(
    world: World,
) -> None:
    """The last line: whatever mistake made such a row."""
    task = await begun(world)
    await world.sign([task], "first")
    world.change(f"UPDATE tasks SET state = 'running', claim = {task.claim}")  # noqa: S608 - our own words
    assert await world.sign([task], "second") == {}
    assert world.row()["proof_of_task"] == "first"


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_happens_each_signature_is_known_for_ever_and_a_new_one_was_asked_for(
    world: World, seed: int
) -> None:
    await _live(world, random.Random(seed).choices("rdxbsaf", k=9))  # noqa: S311 - a history, no secret


async def _live(world: World, history: list[str]) -> None:
    """Live through retries, discards, new payloads by name, restarts, late results, sends taken and refused."""
    seen: set[bytes] = set()
    late = [await begun(world)]
    replacements = 0
    for step, what in enumerate(history):
        row = world.row()
        if what in "rdx":
            try:
                done = world.decide(discard) if what == "d" else world.decide(retry, re_execute=what == "x")
                replacements += done.has_new_payload
            except NotPossible:
                pass
        elif what == "b":
            await world.restart()
            late += filter(None, [await world.claim_suspect("events")])
        elif what == "s":
            late += await world.claim("events")
            for task in late:
                await world.journal.sign([signed(task, f"step {step}")])
        elif what == "a":
            await world.send_all()
        else:
            parcels = await world.hand_out()
            await world.journal.take_back([sent(parcel.id, State.FAILED, error="no") for parcel in parcels])
        now, kept = world.row(), [each["signature"] for each in query(world.place, "SELECT * FROM replaced")]
        assert len(kept) == replacements
        seen |= {each["signature"] for each in (row, now) if each["signature"] is not None}
        assert seen == {*kept, *filter(None, [now["signature"]])}, (history, step)
        assert len(seen) <= replacements + 1
