"""Tasks are taken in hand one by one, their attempts counted first, and their results stored once."""

import time
from typing import Any

import pytest
from world import NOW, START, World, block, event, fired, signed

from listener.journal import Due, Ended, now_us
from listener.model import State


async def test_a_claimed_task_is_running_and_its_attempt_is_counted_before_it_starts(world: World) -> None:
    await world.walk(event("events", block(11), tx=4, index=2, data=b"hi"))
    (task,) = await world.claim("events")
    row = world.row()
    assert (row["state"], row["attempts"]) == ("running", 1)
    assert (task.id, task.attempt, task.claim, task.key) == (1, 1, row["claim"], row["key"])
    assert (task.rule, task.trigger, task.chain) == ("events", "event", "l2")
    assert (task.block_number, task.block_hash, task.block_timestamp) == (11, block(11).hash, block(11).timestamp)
    assert task.log == event("events", block(11), tx=4, index=2, data=b"hi").log


async def test_an_epoch_is_handed_on(world: World) -> None:
    occasion = fired("blocks", block(11))
    await world.walk(type(occasion)("blocks", "epoch", block(11), epoch=7))
    (task,) = await world.claim("blocks")
    assert (task.trigger, task.epoch, task.log) == ("epoch", 7, None)


async def test_tasks_are_claimed_in_the_order_they_were_journaled_and_no_more_than_there_are_slots(
    world: World,
) -> None:
    await world.walk(*[fired("blocks", block(number)) for number in range(11, 17)])
    assert [task.id for task in await world.claim("blocks", slots=4)] == [1, 2, 3, 4]
    assert [task.id for task in await world.claim("blocks", slots=4)] == [5, 6]
    assert await world.claim("blocks", slots=4) == []


async def test_a_rule_claims_its_own_tasks_alone(world: World) -> None:
    await world.walk(fired("blocks", block(11)), event("events", block(11)))
    assert [task.rule for task in await world.claim("events")] == ["events"]
    assert world.states() == ["pending", "running"]


async def test_several_rules_are_asked_in_one_go_and_answered_in_their_order(world: World) -> None:
    await world.walk(fired("blocks", block(11)), event("events", block(11)))
    due = [Due(rule=rule, slots=1, released=None) for rule in ("events", "blocks-once", "blocks")]
    assert [[task.id for task in claimed] for claimed in await world.journal.claim(due)] == [[2], [], [1]]


async def test_a_held_task_waits_until_its_block_is_released(world: World) -> None:
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)))
    assert await world.claim("blocks", released=10) == []
    assert await world.claim("blocks", released=-1) == []
    assert [task.block_number for task in await world.claim("blocks", released=11)] == [11]
    assert [task.block_number for task in await world.claim("blocks", released=12)] == [12]


async def test_a_task_is_not_claimed_before_its_pause_is_over(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    (task,) = await world.claim("blocks")
    await world.journal.end([Ended(task, State.PENDING, "later", not_before=now_us() + 60_000_000)])
    assert await world.claim("blocks") == []
    assert (world.row()["state"], world.row()["error"]) == ("pending", "later")


# Ages


async def test_a_task_older_than_the_rule_allows_expires_instead_of_running(world: World) -> None:
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)), fired("blocks", block(13)))
    claimed = await world.claim("blocks", oldest=block(13).timestamp)
    assert [task.id for task in claimed] == [3]
    assert world.states() == ["expired", "expired", "running"]
    row = world.row(1)
    assert "max_age" in row["error"]
    assert (row["attempts"], row["settled_at"] is None) == (0, False)


async def test_expired_tasks_do_not_take_the_slots_of_young_ones(world: World) -> None:
    await world.walk(*[fired("blocks", block(number)) for number in range(11, 31)])
    claimed = await world.claim("blocks", slots=2, oldest=block(25).timestamp)
    assert [task.block_number for task in claimed] == [25, 26]


async def test_a_held_task_does_not_expire_before_its_turn(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    assert await world.claim("blocks", released=10, oldest=int(time.time())) == []
    assert world.states() == ["pending"]


async def test_what_is_ready_never_expires(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    assert await world.claim("blocks", oldest=int(time.time())) == []
    assert world.states() == ["ready"]


async def test_an_expired_task_stays_expired_when_its_block_goes_and_returns(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.claim("blocks", oldest=int(time.time()))
    await world.fork(block(START), to=block(11, "b"))
    await world.fork(block(START), fired("blocks", block(11)))
    assert world.states() == ["expired"]


# Results


async def test_a_signed_result_is_stored_with_its_payload(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    (task,) = await world.claim("blocks")
    item = signed(task, "proof")
    assert await world.journal.sign([item]) == {1: State.READY}
    row = world.row()
    payload = item.payload
    assert (row["state"], row["proof_of_task"], row["data"], row["performer"], row["digest"], row["signature"]) == (
        ("ready", "proof", b"data", payload.performer, payload.digest, payload.signature)
    )


async def test_a_payload_is_written_once(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    (task,) = await world.claim("blocks")
    await world.sign([task], proof="first")
    before = world.row()
    await world.sign([task], proof="second")
    await world.journal.end([Ended(task, State.FAILED, "second")])
    await world.journal.end([Ended(task, State.PENDING, "second")])
    await world.journal.release()
    assert world.row() == before
    await world.send_all()
    before = world.row()
    await world.sign([task], proof="third")
    assert world.row() == before


@pytest.mark.parametrize("state", [State.SKIPPED, State.FAILED])
async def test_an_end_is_stored_with_its_reason_and_its_time(world: World, state: State) -> None:
    await world.walk(fired("blocks", block(11)))
    (task,) = await world.claim("blocks")
    assert await world.journal.end([Ended(task, state, "because")]) == {1}
    row = world.row()
    assert (row["state"], row["error"], row["settled_at"] >= NOW) == (state, "because", True)


async def test_a_task_that_goes_back_to_pending_has_not_ended(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    (task,) = await world.claim("blocks")
    assert await world.journal.end([Ended(task, State.PENDING, "again")]) == {1}
    assert world.row()["settled_at"] is None
    (again,) = await world.claim("blocks")
    assert again.attempt == 2


async def test_a_claim_is_good_for_one_answer(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    (task,) = await world.claim("blocks")
    await world.journal.end([Ended(task, State.PENDING, "again")])
    await world.claim("blocks")
    assert await world.journal.end([Ended(task, State.FAILED, "late")]) == set()
    assert await world.sign([task], proof="late") == {}
    assert world.states() == ["running"]


async def test_a_released_task_gives_its_attempt_back_and_can_be_claimed_again(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    claimed = await world.claim("blocks")
    await world.journal.release()
    assert (world.row()["state"], world.row()["attempts"]) == ("pending", 0)
    assert await world.sign(claimed) == {}
    assert [task.attempt for task in await world.claim("blocks")] == [1]


async def test_releasing_what_a_reorg_took_away_changes_nothing(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.claim("blocks")
    await world.fork(block(START), to=block(11, "b"))
    before = world.row()
    await world.journal.release()
    assert world.row() == before


# After an unclean end


async def test_what_was_running_when_the_process_ended_runs_again_with_its_attempt_counted(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.claim("blocks")
    assert await world.restart({"blocks": 3}) == (1, 0)
    row = world.row()
    assert (row["state"], row["attempts"], row["error"]) == ("pending", 1, "the process ended while its handler ran")
    suspect = await world.claim_suspect("blocks")
    assert suspect is not None
    assert suspect.attempt == 2


async def test_what_was_running_when_the_process_ended_is_given_out_apart_from_the_rest(world: World) -> None:
    """One of them may be what ended it: together they would all lose an attempt with it each time."""
    await world.walk(*[fired("blocks", block(number)) for number in range(11, 16)])
    await world.claim("blocks", slots=3)
    await world.restart()
    assert [task.id for task in await world.claim("blocks")] == [4, 5]
    first = await world.claim_suspect("blocks")
    assert first is not None
    assert first.id == 1
    await world.restart()  # an innocent one that waited stays a suspect, and loses nothing
    assert [row["attempts"] for row in world.rows().values()] == [2, 1, 1, 1, 1]
    assert await world.claim("blocks") == []
    for task_id in (1, 2, 3, 4, 5):
        suspect = await world.claim_suspect("blocks")
        assert suspect is not None
        assert suspect.id == task_id
        await world.sign([suspect])
    assert await world.claim_suspect("blocks") is None


async def test_a_suspect_whose_handler_failed_is_none_any_longer(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.claim("blocks")
    await world.restart()
    suspect = await world.claim_suspect("blocks")
    assert suspect is not None
    await world.journal.end([Ended(suspect, State.PENDING, "no luck")])
    assert await world.claim_suspect("blocks") is None
    assert [task.id for task in await world.claim("blocks")] == [1]


async def test_a_task_that_kills_the_process_each_time_ends_as_failed(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    for attempt in (1, 2, 3):
        task = await world.claim_suspect("blocks") or (await world.claim("blocks"))[0]
        assert task.attempt == attempt
        await world.restart({"blocks": 3})
    row = world.row()
    assert (row["state"], row["attempts"], row["settled_at"] is None) == ("failed", 3, False)
    assert "the process ended" in row["error"]
    assert await world.claim("blocks") == []


async def test_a_claim_of_a_process_that_is_gone_is_worth_nothing(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    old = await world.claim("blocks")
    await world.restart({"blocks": 3})
    assert await world.sign(old) == {}
    await world.claim_suspect("blocks")
    assert await world.sign(old) == {}
    assert world.states() == ["running"]


async def test_a_task_whose_rule_is_gone_is_kept_and_never_failed(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.claim("blocks")
    await world.restart({})
    assert world.states() == ["pending"]


async def test_nothing_is_recovered_that_was_not_running(world: World) -> None:
    await world.walk(*[fired("blocks", block(number)) for number in (11, 12, 13)])
    await world.sign(await world.claim("blocks", slots=1))
    await world.send_all()
    await world.sign(await world.claim("blocks", slots=1))
    before = world.rows()
    assert await world.restart({"blocks": 1}) == (0, 1)
    assert world.rows() == before


@pytest.mark.parametrize("text", ["file \udcff is not there", "file \0 is not there"])
async def test_an_error_text_that_no_database_can_store_does_not_stop_the_journal(world: World, text: str) -> None:
    await world.walk(fired("blocks", block(11)))
    (task,) = await world.claim("blocks")
    await world.journal.end([Ended(task, State.FAILED, text)])
    row = world.row()
    assert row["state"] == "failed"
    assert "is not there" in row["error"]


async def test_a_claim_that_is_left_stands_and_is_served_by_the_step_that_appends(world: World) -> None:
    claimed: list[int] = []
    world.journal.on_claimed = lambda tasks: claimed.extend(task.id for task in tasks)
    standing = Due(rule="blocks", slots=2, released=None, received=0)
    assert await world.journal.claim([standing]) == [[]]
    await world.walk(fired("blocks", block(11)))
    assert claimed == [1]
    await world.walk(fired("blocks", block(12)), fired("blocks", block(12)))
    await world.walk(fired("blocks", block(13)))
    assert claimed == [1, 2]
    assert world.states() == ["running", "running", "pending"]


async def test_what_is_on_its_way_to_the_runner_counts_against_its_slots(world: World) -> None:
    await world.journal.claim([Due(rule="blocks", slots=1, released=None, received=0)])
    await world.walk(fired("blocks", block(11)))
    await world.walk(fired("blocks", block(12)))
    again = Due(rule="blocks", slots=1, released=None, received=0)  # sent before the first one was heard of
    assert await world.journal.claim([again]) == [[]]
    ((task,),) = await world.journal.claim([Due(rule="blocks", slots=1, released=None, received=1)])
    assert task.id == 2


@pytest.mark.parametrize("held", [{"released": 100}, {"released": None, "oldest": 0}], ids=["confirmations", "max_age"])
async def test_a_claim_that_depends_on_the_head_or_the_clock_does_not_stand(world: World, held: dict[str, Any]) -> None:
    claimed: list[object] = []
    world.journal.on_claimed = claimed.extend
    await world.journal.claim([Due(rule="blocks", slots=2, received=0, **held)])
    await world.walk(fired("blocks", block(11)))
    assert claimed == []
    assert world.states() == ["pending"]


async def test_no_claim_stands_once_the_runner_wants_nothing_more(world: World) -> None:
    await world.journal.claim([Due(rule="blocks", slots=2, released=None, received=0)])
    await world.journal.claim_nothing()
    await world.walk(fired("blocks", block(11)))
    assert world.states() == ["pending"]
