"""What an operator decides of a task: retried, executed anew, put away; also while a daemon has it in hand."""

import pytest
from world import NOW, START, World, block, event, fired, query, sent

from listener.errors import NotPossible
from listener.journal import Ended, now_us
from listener.journal.operator import discard, retry
from listener.model import State

PAYLOAD = ("proof_of_task", "data", "performer", "digest", "signature")


async def failed(world: World) -> None:
    """One task whose attempts are used up."""
    await world.walk(fired("blocks", block(11)))
    (task,) = await world.claim("blocks")
    await world.journal.end([Ended(task, State.FAILED, "attempt 1: no price")])


async def given_up(world: World) -> None:
    """One task whose payload nobody took."""
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    await world.hand_out()
    await world.journal.take_back([sent(1, State.FAILED, error="gave up")])


def payload(world: World, task_id: int = 1) -> dict[str, object]:
    return {name: world.row(task_id)[name] for name in PAYLOAD}


# Retry


async def test_a_task_that_failed_without_a_payload_is_executed_again_from_its_first_attempt(world: World) -> None:
    await failed(world)
    done = world.decide(retry)
    assert (done.before, done.now, done.has_payload) == ("failed", "pending", False)
    assert (world.row()["attempts"], world.row()["error"], world.row()["settled_at"]) == (0, None, None)
    (task,) = await world.claim("blocks")
    assert (task.id, task.attempt) == (1, 1)
    assert await world.sign([task]) == {1: State.READY}


async def test_a_task_whose_rule_is_gone_is_not_retried_but_its_payload_is(world: World) -> None:
    await failed(world)
    with pytest.raises(NotPossible, match='the rule "blocks" is no longer in the configuration; put it back'):
        world.decide(retry, homes={"events": "l2"})
    with pytest.raises(NotPossible, match='the rule "blocks" is on chain l1 now'):
        world.decide(retry, homes={"blocks": "l1"})
    assert world.states() == ["failed"]
    assert world.decide(retry, homes={"blocks": "l2"}).now == "pending"
    await world.execute("blocks")
    world.decide(discard)
    with pytest.raises(NotPossible, match="never be executed"):
        world.decide(retry, homes={}, re_execute=True)
    assert world.decide(retry, homes={}).now == "ready"


async def test_a_task_that_was_too_old_is_not_too_old_again_when_it_is_retried(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    now = now_us() // 1_000_000
    assert await world.claim("blocks", oldest=now - 60) == []
    assert world.states() == ["expired"]
    world.decide(retry)
    assert [task.id for task in await world.claim("blocks", oldest=now - 60)] == [1]


async def test_a_task_that_has_a_payload_is_sent_again_with_the_same_bytes(world: World) -> None:
    await given_up(world)
    before = payload(world)
    done = world.decide(retry)
    assert (done.before, done.now, done.has_payload, done.has_new_payload) == ("failed", "ready", True, False)
    assert payload(world) == before
    (parcel,) = await world.hand_out()
    assert (parcel.payload.digest, parcel.payload.signature) == (before["digest"], before["signature"])
    assert await world.claim("blocks") == []
    await world.accept([parcel])
    assert (world.states(), world.row()["sends"], world.row()["error"]) == (["accepted"], 2, None)


async def test_a_retried_payload_counts_as_sent_and_has_the_whole_time_again(world: World) -> None:
    await given_up(world)
    asked = now_us()
    world.decide(retry)
    (parcel,) = await world.hand_out()
    assert not parcel.fresh
    assert parcel.sent_at == NOW
    assert parcel.retried_at is not None
    assert parcel.retried_at >= asked


async def test_a_row_that_was_ready_when_it_was_put_away_counts_as_sent_when_it_is_taken_back(world: World) -> None:
    """Which sends a process that has ended had begun is not known to anybody."""
    await world.walk(event("events", block(11)))
    await world.execute("events")
    await world.hand_out()  # and then the process is killed
    world.decide(discard)
    await world.restart()
    world.decide(retry)
    (parcel,) = await world.hand_out()
    assert not parcel.fresh
    await world.fork(block(START), event("events", block(11, "b")))
    assert world.states() == ["ready", "skipped"]
    assert world.row()["orphaned"]


async def test_a_retried_payload_that_this_process_did_not_send_yet_counts_as_sent_in_a_reorg(world: World) -> None:
    await world.walk(event("events", block(11)))
    await world.execute("events")
    await world.hand_out()  # and then the process is killed
    world.decide(discard)
    await world.restart()
    world.decide(retry)
    await world.fork(block(START), event("events", block(11, "b")))
    assert world.states() == ["ready", "skipped"]
    assert world.row()["orphaned"]


async def test_a_rule_says_once_also_of_what_was_put_away_while_it_was_on_its_way(world: World) -> None:
    await world.walk(event("events", block(11)))
    await world.execute("events")
    await world.hand_out()
    world.decide(discard)
    await world.fork(block(START), event("events", block(11, "b")))
    assert world.states() == ["discarded", "skipped"]


async def test_a_task_that_kills_the_process_is_no_suspect_when_an_operator_retries_it(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.claim("blocks")
    await world.restart({"blocks": 1})
    assert world.states() == ["failed"]
    world.decide(retry)
    assert await world.claim_suspect("blocks") is None
    assert [task.id for task in await world.claim("blocks")] == [1]


async def test_a_task_that_had_nothing_to_do_may_be_tried_again(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    (task,) = await world.claim("blocks")
    await world.journal.end([Ended(task, State.SKIPPED, "nothing to do")])
    assert world.decide(retry).now == "pending"


# A new payload


async def test_a_new_payload_is_made_by_name_alone_and_the_old_one_is_kept(world: World) -> None:
    await given_up(world)
    before, key = payload(world), world.row()["key"]
    done = world.decide(retry, re_execute=True)
    assert (done.now, done.has_new_payload, done.may_be_sent) == ("pending", True, True)
    assert payload(world) == dict.fromkeys(PAYLOAD)
    assert (world.row()["key"], world.row()["sends"], world.row()["sent_at"]) == (key, 0, None)
    (kept,) = query(world.place, "SELECT * FROM replaced")
    assert {name: kept[name] for name in PAYLOAD} == before
    assert (kept["task_id"], kept["replaced_at"] > NOW) == (1, True)
    await world.execute("blocks", proof="another")
    (parcel,) = await world.send_all()
    assert parcel.fresh
    assert parcel.payload.signature != before["signature"]
    assert world.states() == ["accepted"]


async def test_what_the_aggregator_took_is_executed_anew_by_name_alone(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    await world.send_all()
    before = world.row()
    with pytest.raises(NotPossible, match=r"task 1 is accepted.*--re-execute.*a second one for the same trigger"):
        world.decide(retry)
    assert world.row() == before
    assert world.decide(retry, re_execute=True).may_be_sent
    row = world.row()
    assert (row["state"], row["accepted_at"], row["already_known"]) == ("pending", None, 0)
    for count in (1, 2):
        await world.execute("blocks", proof=f"number {count}")
        await world.send_all()
        assert world.states() == ["accepted"]
        if count == 1:
            world.decide(retry, re_execute=True)
    assert [row["proof_of_task"] for row in query(world.place, "SELECT * FROM replaced ORDER BY id")] == [
        row["key"],
        "number 1",
    ]


async def test_a_new_payload_that_is_asked_for_where_there_is_none_replaces_nothing(world: World) -> None:
    await failed(world)
    assert not world.decide(retry, re_execute=True).has_new_payload
    assert query(world.place, "SELECT * FROM replaced") == []


async def test_an_answer_to_the_old_payload_says_nothing_of_the_new_one(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    (old,) = await world.hand_out()
    world.decide(discard)
    world.decide(retry, re_execute=True)
    await world.execute("blocks", proof="another")
    assert await world.hand_out() == [], "the old one is still on its way"
    await world.accept([old])
    assert (world.states(), world.row()["sends"]) == (["ready"], 0)
    (new,) = await world.hand_out()
    assert new.payload.digest != old.payload.digest


# Put away


async def test_a_pending_task_that_was_put_away_is_not_executed_until_it_is_retried(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    assert (world.decide(discard).now, world.row()["error"]) == ("discarded", "by an operator")
    assert await world.claim("blocks") == []
    world.decide(retry)
    assert len(await world.claim("blocks")) == 1


@pytest.mark.parametrize("again", [False, True])
async def test_the_late_result_of_a_task_that_was_put_away_is_dropped(world: World, again: bool) -> None:  # noqa: FBT001 - a parameter of the test
    await world.walk(fired("blocks", block(11)))
    late = await world.claim("blocks")
    world.decide(discard)
    if again:
        world.decide(retry)
        assert len(await world.claim("blocks")) == 1
    assert await world.sign(late) == {}
    assert await world.journal.end([Ended(late[0], State.FAILED, "late")]) == set()
    assert world.states() == ["running" if again else "discarded"]
    assert world.row()["signature"] is None


async def test_a_dead_letter_that_is_put_away_keeps_its_reason(world: World) -> None:
    await failed(world)
    world.decide(discard)
    assert world.row()["error"] == "by an operator; before: attempt 1: no price"


async def test_what_was_taken_although_it_was_put_away_meanwhile_is_accepted(world: World) -> None:
    await world.walk(*[fired("blocks", block(number)) for number in (11, 12, 13)])
    await world.execute("blocks")
    parcels = await world.hand_out()
    for task_id in (1, 2):
        assert world.decide(discard, task_id).may_be_sent
    await world.journal.take_back([sent(1), sent(2, State.READY, error="busy"), sent(parcels[2].id)])
    assert world.states() == ["accepted", "discarded", "accepted"]
    assert "discarded by an operator while it was being sent" in world.row(1)["error"]
    assert [world.row(number)["sends"] for number in (1, 2, 3)] == [1, 1, 1]
    assert (world.row(2)["sent_at"] is not None, world.row(2)["accepted_at"]) == (True, None)
    assert world.row(3)["error"] is None
    assert await world.hand_out() == []


# What is refused, and why


async def test_what_cannot_be_retried_is_refused_with_the_reason(world: World) -> None:
    await world.walk(*[fired("blocks", block(number)) for number in (11, 12, 13)])
    await world.sign(await world.claim("blocks", slots=1))
    await world.claim("blocks", slots=1)
    before = world.rows()
    for task_id, said in (
        (1, "task 1 is ready: it is being sent"),
        (2, "task 2 is running: a handler works on it"),
        (3, "task 3 is pending: it runs by itself"),
        (4, "task 4: there is none"),
    ):
        for re_execute in (False, True):
            with pytest.raises(NotPossible, match=said):
                world.decide(retry, task_id, re_execute=re_execute)
    assert world.rows() == before


async def test_what_cannot_be_put_away_is_refused_with_the_reason(world: World) -> None:
    await world.walk(*[fired("blocks", block(number)) for number in (11, 12)])
    await world.execute("blocks")
    await world.accept(await world.hand_out(1))
    world.decide(discard, 2)
    for task_id, said in (
        (1, "task 1 is accepted: the aggregator took it"),
        (2, "task 2 is discarded: it has ended"),
        (3, "task 3: there is none"),
    ):
        with pytest.raises(NotPossible, match=said):
            world.decide(discard, task_id)


@pytest.mark.parametrize("re_execute", [False, True])
async def test_nothing_is_executed_or_sent_for_a_block_that_is_gone(world: World, re_execute: bool) -> None:  # noqa: FBT001 - a parameter of the test
    await given_up(world)
    await world.walk(fired("blocks", block(12)))
    world.decide(discard, 2)
    await world.walk(fired("blocks", block(13)))
    await world.fork(block(START), to=block(13, "b"))
    assert world.states() == ["failed", "discarded", "cancelled"]
    before = world.rows()
    for task_id in (1, 2, 3):
        with pytest.raises(NotPossible, match="its block is not on the chain"):
            world.decide(retry, task_id, re_execute=re_execute)
    assert world.rows() == before
    await world.fork(block(START), to=block(13))
    assert world.decide(retry, 1).now == "ready"


async def test_of_a_pair_the_one_that_was_sent_is_retried(world: World) -> None:
    """Its cause is on the chain, in another block: the bytes that were sent for it are those that count."""
    await world.walk(event("events", block(11)))
    await world.execute("events")
    await world.hand_out()
    await world.journal.take_back([sent(1, State.FAILED, error="gave up")])
    await world.fork(block(START), event("events", block(11, "b")))
    assert world.states() == ["failed", "skipped"]
    for re_execute in (False, True):
        with pytest.raises(NotPossible, match="its effect is that of task 1"):
            world.decide(retry, 2, re_execute=re_execute)
    with pytest.raises(NotPossible, match="not on the chain"):
        world.decide(retry, 1, re_execute=True)
    assert world.decide(retry, 1).now == "ready"
    assert [parcel.id for parcel in await world.hand_out()] == [1]
