"""Ready tasks are sent until they are taken or given up: bounded, with identical bytes, and without a storm."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from raw_server import TAKEN, RawServer, Reply, Request, answer, rpc_error
from structlog.testing import capture_logs
from world import START, World, block, fired, until

from listener import metrics, submitter
from listener.aggregator import Aggregator
from listener.journal.operator import retry
from listener.submitter import Submitter

TAKEN_REPLY = answer(TAKEN)


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async with RawServer() as running:
        yield running


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitter, "LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr(submitter, "POLL_S", 0.1)


hasty = pytest.mark.usefixtures("_hasty")


async def ready(world: World, count: int, first: int = START + 1) -> None:
    await world.walk(*[fired("blocks", block(first + number)) for number in range(count)])
    await world.execute("blocks")


@contextlib.asynccontextmanager
async def submitting(
    world: World, server: RawServer, *, in_flight: int = 4, give_up_after_s: float = 3600, timeout_s: float = 5
) -> AsyncIterator[Submitter]:
    aggregator = Aggregator(server.url, "http://shown", timeout_s=timeout_s)
    stage = Submitter(aggregator, world.journal, in_flight=in_flight, give_up_after_s=give_up_after_s)
    stop = asyncio.Event()
    running = asyncio.ensure_future(stage.run(stop))
    try:
        yield stage
    finally:
        stop.set()
        await asyncio.wait_for(running, 20)
        await aggregator.close()


def proofs(server: RawServer) -> list[Any]:
    return [request.json["params"][0] for request in server.requests]  # type: ignore[index]


async def test_what_is_ready_is_sent_oldest_first_and_ends_as_accepted(world: World, server: RawServer) -> None:
    await ready(world, 6)
    async with submitting(world, server, in_flight=1):
        await until(lambda: world.states() == ["accepted"] * 6)
    assert proofs(server) == [row["proof_of_task"] for row in world.rows().values()]
    row = world.row()
    assert row["created_at"] <= row["sent_at"] <= row["accepted_at"]
    assert (row["sends"], row["already_known"], row["error"], row["settled_at"]) == (1, 0, None, None)


async def test_what_becomes_ready_later_is_sent_at_once(world: World, server: RawServer) -> None:
    async with submitting(world, server):
        await asyncio.sleep(0.05)
        await ready(world, 1)
        await until(lambda: len(server.requests) == 1, 4)
        await ready(world, 1, first=START + 2)
        await until(lambda: len(server.requests) == 2, 4)


async def test_no_more_are_in_flight_than_allowed_and_as_many_as_allowed(world: World, server: RawServer) -> None:
    async def slow(_request: Request) -> Reply:
        await asyncio.sleep(0.02)
        return TAKEN_REPLY

    server.hook = slow
    await ready(world, 40)
    async with submitting(world, server, in_flight=7):
        await until(lambda: world.states() == ["accepted"] * 40)
    assert server.most_at_once == 7
    assert len(server.requests) == 40


@hasty
async def test_a_declined_task_is_sent_again_with_identical_bytes_until_it_is_taken(
    world: World, server: RawServer
) -> None:
    await ready(world, 1)
    server.replies = [rpc_error(-32000, "no attesters"), rpc_error(-32603, "internal"), rpc_error(1, "x", status=500)]
    async with submitting(world, server):
        await until(lambda: world.states() == ["accepted"])
    sent = [request.json["params"] for request in server.requests]
    assert len(sent) == 4
    assert all(params == sent[0] for params in sent)
    assert (world.row()["sends"], world.row()["error"]) == (4, None)


@hasty
async def test_errors_that_may_pass_are_told_once_for_a_task_and_once_for_all(
    world: World, server: RawServer, logs: list[Any]
) -> None:
    stubborn = ""

    async def hook(request: Request) -> Reply:
        everybody = len(server.requests) <= 12
        mine = request.json["params"][0] == stubborn  # type: ignore[index]
        return rpc_error(-32000, "not yet") if everybody or mine else TAKEN_REPLY

    def told() -> int:
        return sum(line["event"] == "aggregator.declined" for line in logs)

    server.hook = hook
    before = metrics.sends_failed.labels("declined")._value.get()
    await ready(world, 4)
    async with submitting(world, server):
        await until(lambda: world.states() == ["accepted"] * 4)
        assert told() == 1
        await ready(world, 5, first=START + 5)
        stubborn = world.row(5)["proof_of_task"]
        await until(lambda: world.states()[5:] == ["accepted"] * 4)
        await until(lambda: world.row(5)["sends"] > 5)
        stubborn = ""
        await until(lambda: world.states() == ["accepted"] * 9)
    assert told() == 2
    assert metrics.sends_failed.labels("declined")._value.get() >= before + 17


@hasty
async def test_one_task_that_is_declined_does_not_hold_the_others_up(world: World, server: RawServer) -> None:
    await ready(world, 20)
    stubborn = world.row(1)["proof_of_task"]

    async def hook(request: Request) -> Reply:
        return rpc_error(-32000, "not this one") if request.json["params"][0] == stubborn else TAKEN_REPLY  # type: ignore[index]

    server.hook = hook
    async with submitting(world, server):
        await until(lambda: world.states()[1:] == ["accepted"] * 19)
        row = world.row(1)
        assert (row["state"], row["sends"] >= 1) == ("ready", True)
        assert "not this one" in row["error"]


@hasty
async def test_a_task_that_stays_declined_is_given_up_with_its_last_reason(
    world: World, server: RawServer, logs: list[Any]
) -> None:
    await ready(world, 1)
    server.reply = rpc_error(-32000, "no attesters are connected")
    async with submitting(world, server, give_up_after_s=0.15):
        await until(lambda: world.states() == ["failed"])
        sends = world.row()["sends"]
        await asyncio.sleep(0.1)
    row = world.row()
    assert row["sends"] == sends >= 2, "a dead letter is not sent"
    assert "no attesters are connected" in row["error"]
    assert f"gave up after {sends} sends" in row["error"]
    assert row["settled_at"] is not None
    assert [line["task"] for line in logs if line["event"] == "task.failed"] == [1]


@hasty
async def test_a_retried_task_is_given_up_no_sooner_than_a_new_one(world: World, server: RawServer) -> None:
    await ready(world, 1)
    server.reply = rpc_error(-32000, "no attesters are connected")
    async with submitting(world, server, give_up_after_s=60):
        await until(lambda: world.row()["sends"] > 0)
    world.change("UPDATE tasks SET state = 'failed', sent_at = sent_at - 3600000000")  # it was sent an hour ago
    world.decide(retry)
    sends = world.row()["sends"]
    async with submitting(world, server, give_up_after_s=60):
        await until(lambda: world.row()["sends"] >= sends + 3)
        assert world.states() == ["ready"]


async def test_a_refused_task_fails_at_once_with_the_reason(world: World, server: RawServer, logs: list[Any]) -> None:
    await ready(world, 2)
    server.replies = [rpc_error(-32602, "proofOfTask: too long")]
    async with submitting(world, server, in_flight=1):
        await until(lambda: world.states() == ["failed", "accepted"])
    row = world.row()
    assert row["sends"] == 1
    assert "proofOfTask: too long" in row["error"]
    assert [line["log_level"] for line in logs if line["event"] == "task.failed"] == ["error"]


# Already known


async def test_already_known_on_the_first_send_of_a_fresh_task_is_flagged_and_warned_of(
    world: World, server: RawServer, logs: list[Any]
) -> None:
    await ready(world, 1)
    server.reply = rpc_error(-32000, "MessageAlreadySigned")
    async with submitting(world, server):
        await until(lambda: world.states() == ["accepted"])
    assert world.row()["already_known"] == 1
    (line,) = [line for line in logs if line["event"] == "task.accepted"]
    assert (line["log_level"], line["already_known"]) == ("warning", True)


@hasty
async def test_already_known_on_a_resend_is_what_was_hoped_for(
    world: World, server: RawServer, logs: list[Any]
) -> None:
    await ready(world, 1)
    server.replies = [None, rpc_error(-32000, "MessageAlreadySigned")]
    async with submitting(world, server):
        await until(lambda: world.states() == ["accepted"])
    row = world.row()
    assert (row["already_known"], row["sends"]) == (0, 2)
    assert [line["log_level"] for line in logs if line["event"] == "task.accepted"] == ["info"]


async def test_already_known_after_a_restart_is_not_flagged(world: World, server: RawServer) -> None:
    await ready(world, 1)
    await world.restart()
    server.reply = rpc_error(-32000, "MessageAlreadySigned")
    async with submitting(world, server):
        await until(lambda: world.states() == ["accepted"])
    assert world.row()["already_known"] == 0


@hasty
async def test_an_answer_lost_on_a_kept_connection_does_not_make_our_own_task_somebody_elses(
    world: World, server: RawServer
) -> None:
    await ready(world, 2)
    server.replies = [TAKEN_REPLY, None, rpc_error(-32000, "MessageAlreadySigned")]
    async with submitting(world, server, in_flight=1):
        await until(lambda: world.states() == ["accepted"] * 2)
    assert [row["already_known"] for row in world.rows().values()] == [0, 0]


# Outages


@hasty
async def test_while_nothing_gets_through_one_send_at_a_time_is_tried(
    world: World, server: RawServer, logs: list[Any]
) -> None:
    await ready(world, 30)
    reachable = False

    async def hook(_request: Request) -> Reply:
        await asyncio.sleep(0.005)
        return TAKEN_REPLY if reachable else None

    server.hook = hook
    async with submitting(world, server, in_flight=8):
        await until(lambda: len(server.requests) >= 8)
        await until(lambda: server.at_once == 0)
        server.most_at_once = 0
        begun = len(server.requests)
        await asyncio.sleep(0.3)
        probes = len(server.requests) - begun
        assert server.most_at_once == 1
        assert 2 <= probes <= 30, "a probe after each pause, and no storm"
        assert "ready" in world.states()
        assert set(world.states()) == {"ready"}
        reachable = True
        await until(lambda: world.states() == ["accepted"] * 30)
    assert sum(line["event"] == "aggregator.unavailable" for line in logs) == 1


@hasty
async def test_tasks_that_nobody_answers_do_not_hold_the_others_up(world: World, server: RawServer) -> None:
    """The line is cut whenever one of the two oldest comes: it looks like an outage, and is none."""
    await ready(world, 6)
    oldest = [row["proof_of_task"] for row in world.rows().values()][:2]

    async def hook(request: Request) -> Reply:
        return None if request.json["params"][0] in oldest else TAKEN_REPLY  # type: ignore[index]

    server.hook = hook
    async with submitting(world, server, in_flight=1):
        await until(lambda: world.states() == ["ready"] * 2 + ["accepted"] * 4)


@hasty
async def test_an_outage_from_the_start_is_waited_out(world: World, server: RawServer) -> None:
    await ready(world, 10)
    await server.close()
    async with submitting(world, server):
        await asyncio.sleep(0.1)
        assert set(world.states()) == {"ready"}
        await server.start()
        await until(lambda: world.states() == ["accepted"] * 10)
    assert sorted(proofs(server)) == sorted(row["proof_of_task"] for row in world.rows().values())


async def test_sends_that_fail_together_are_one_failure(world: World, server: RawServer) -> None:
    await ready(world, 32)
    all_there = asyncio.Event()

    async def cut_all(_request: Request) -> Reply:
        if server.at_once == 32:
            all_there.set()
        await all_there.wait()
        return None

    server.hook = cut_all
    async with submitting(world, server, in_flight=32):
        await until(lambda: len(server.requests) == 32 and server.at_once == 0)
        server.hook = None
        await until(lambda: len(server.requests) > 32, 1.5)


async def test_an_aggregator_that_hangs_is_left_after_the_timeout(world: World, server: RawServer) -> None:
    async def never(_request: Request) -> Reply:
        await asyncio.sleep(60)
        return None

    server.hook = never
    await ready(world, 1)
    async with submitting(world, server, timeout_s=0.1):
        await until(lambda: world.row()["sends"] == 1)
        assert "no answer" in world.row()["error"]
        server.hook = None


# Stopping


async def test_stopping_waits_for_the_answers_that_are_on_their_way_and_begins_nothing_new(
    world: World, server: RawServer
) -> None:
    gate = asyncio.Event()

    async def wait(_request: Request) -> Reply:
        await gate.wait()
        return TAKEN_REPLY

    server.hook = wait
    await ready(world, 10)
    aggregator = Aggregator(server.url, "shown", timeout_s=5)
    stage = Submitter(aggregator, world.journal, in_flight=3, give_up_after_s=60)
    stop = asyncio.Event()
    running = asyncio.ensure_future(stage.run(stop))
    await until(lambda: server.at_once == 3)
    stop.set()
    await asyncio.sleep(0.05)
    assert not running.done()
    gate.set()
    await asyncio.wait_for(running, 20)
    await aggregator.close()
    await world.restart()  # after the journal's own end, as in the daemon
    assert world.states() == ["accepted"] * 3 + ["ready"] * 7
    assert len(server.requests) == 3


async def test_stopping_an_idle_submitter_takes_no_time(world: World, server: RawServer) -> None:
    begun = asyncio.get_running_loop().time()
    async with submitting(world, server):
        await asyncio.sleep(0.02)
    assert asyncio.get_running_loop().time() - begun < 1


async def test_a_submitter_that_is_cancelled_leaves_its_tasks_to_be_sent_again(world: World, server: RawServer) -> None:
    async def never(_request: Request) -> Reply:
        await asyncio.sleep(60)
        return None

    server.hook = never
    await ready(world, 3)
    aggregator = Aggregator(server.url, "shown", timeout_s=5)
    running = asyncio.ensure_future(
        Submitter(aggregator, world.journal, in_flight=3, give_up_after_s=60).run(asyncio.Event())
    )
    await until(lambda: server.at_once == 3)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    await aggregator.close()
    assert await world.restart() == (0, 3)
    first = proofs(server)
    server.hook = None
    async with submitting(world, server):
        await until(lambda: world.states() == ["accepted"] * 3)
    assert sorted(proofs(server)[3:]) == sorted(first)


async def test_what_is_signed_while_the_submitter_is_being_cancelled_is_sent_after_the_next_start(
    world: World, server: RawServer
) -> None:
    """The journal hands it out before it hears of that; warnings are errors here, so nothing may be left behind."""
    aggregator = Aggregator(server.url, "http://shown", timeout_s=5)
    running = asyncio.ensure_future(
        Submitter(aggregator, world.journal, in_flight=4, give_up_after_s=3600).run(asyncio.Event())
    )
    await asyncio.sleep(0.05)  # it waits, with room for four
    running.cancel()
    await asyncio.wait([running])
    await ready(world, 1)
    await aggregator.close()
    assert server.requests == []
    assert await world.restart() == (0, 1)
    async with submitting(world, server):
        await until(lambda: world.states() == ["accepted"])


@hasty
async def test_an_orphan_is_not_sent_again_while_it_rests(world: World, server: RawServer) -> None:
    await ready(world, 1)
    server.reply = rpc_error(-32000, "not now")
    async with submitting(world, server):
        await until(lambda: len(server.requests) >= 2)
        await world.fork(block(START), to=block(START + 1, "b"))
        await asyncio.sleep(0.05)
        count = len(server.requests)
        await asyncio.sleep(0.2)
        assert len(server.requests) == count
        server.reply = answer(b'{"result":true}')
        await world.fork(block(START), fired("blocks", block(START + 1)))
        await until(lambda: world.states() == ["accepted"])
    assert len(set(proofs(server))) == 1
