"""Handlers run within their time and their rule's bounds, and whatever they do ends as a row."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from structlog.testing import capture_logs
from works import Context, asked_work, good, running, walk, work
from world import CHAIN, CHAIN_ID, SIGNER, START, World, block, event, fired, frontier, until

from listener import metrics
from listener import runner as runner_package
from listener.config import Hold
from listener.journal import now_us
from listener.model import TaskResult
from listener.runner import Runner

runner_module = sys.modules[f"{runner_package.__name__}.runner"]


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr(runner_module, "POLL_S", 0.2)


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


# Results


async def test_a_result_is_signed_and_ready(world: World) -> None:
    await walk(world, 3)
    async with running(world, work(good)):
        await until(lambda: world.states() == ["ready"] * 3)
    row = world.row()
    assert row["proof_of_task"] == f"11+{row['key']}"
    payload = SIGNER.sign(TaskResult(row["proof_of_task"], b"data"), 1)
    assert (row["digest"], row["signature"]) == (payload.digest, payload.signature)
    assert row["performer"] == SIGNER.address


async def test_a_result_is_signed_for_the_definition_id_that_was_journaled_whatever_the_rule_says_now(
    world: World,
) -> None:
    await walk(world, rule="blocks-once")  # journaled for definition 2; the rule says 1 by now
    async with running(world, work(good, "blocks-once")):
        await until(lambda: world.states() == ["ready"])
    row = world.row()
    payload = SIGNER.sign(TaskResult(row["proof_of_task"], b"data"), 2)
    assert (row["task_definition_id"], row["digest"]) == (2, payload.digest)


async def test_what_is_journaled_later_is_executed_at_once(world: World) -> None:
    async with running(world, work(good)):
        await asyncio.sleep(0.05)
        await walk(world)
        await until(lambda: world.states() == ["ready"], 4)


async def test_a_handler_sees_its_task(world: World) -> None:
    seen: list[Context] = []

    async def look(ctx: Context) -> None:
        assert 0 < ctx.deadline <= 7
        seen.append(ctx)

    await walk(world)
    async with running(world, work(look, timeout_s=7)):
        await until(lambda: world.states() == ["skipped"])
    (ctx,) = seen
    trigger = ctx.trigger
    assert (trigger.rule, trigger.chain, trigger.chain_id, trigger.block_number) == ("blocks", CHAIN, CHAIN_ID, 11)
    assert (bytes(trigger.block_hash), trigger.block_timestamp) == (block(11).hash, block(11).timestamp)
    assert trigger.due.timestamp() == block(11).timestamp
    assert (ctx.key, ctx.attempt, ctx.performer) == (world.row()["key"], 1, SIGNER.address)


class Body(BaseModel):
    amount: int
    at: datetime


@pytest.mark.parametrize("model", [Body, None])
async def test_a_handler_sees_what_a_request_said_and_when_it_came(world: World, model: type[Body] | None) -> None:
    seen: list[Any] = []

    async def look(ctx: Context) -> None:
        seen.append((ctx.trigger.body, ctx.trigger.due, ctx.trigger.block_number))

    said = {"amount": 2**200, "at": "2026-01-01T00:00:00Z"}
    await world.ask(body=said)
    async with running(world, asked_work(look, model)):
        await until(lambda: world.states() == ["skipped"])
    body = Body(amount=2**200, at=datetime(2026, 1, 1, tzinfo=UTC)) if model else said
    assert seen == [(body, datetime.fromtimestamp(1_700_000_500, UTC), START)]


async def test_a_body_that_no_longer_fits_fails_the_task_with_the_place(world: World) -> None:
    await world.ask(body={"amount": "many", "at": "2026-01-01T00:00:00Z"})
    async with running(world, asked_work(good, Body)):
        await until(lambda: world.states() == ["failed"])
    assert world.row()["error"].startswith("attempt 2: body.amount: should be a valid integer")


async def test_what_no_block_made_waits_for_no_look_at_the_chain(world: World) -> None:
    world.journal.looked.clear()
    await world.ask()
    async with running(world, asked_work(good)):
        await until(lambda: world.states() == ["ready"])


async def test_returning_nothing_means_nothing_to_do(world: World) -> None:
    async def nothing(_ctx: Context) -> None:
        return None

    await walk(world)
    async with running(world, work(nothing)):
        await until(lambda: world.states() == ["skipped"])
    row = world.row()
    assert (row["error"], row["digest"], row["attempts"]) == ("nothing to do", None, 1)


async def test_an_ordinary_function_runs_in_a_thread_of_its_own(world: World) -> None:
    threads: set[str] = set()

    def blocking(ctx: Context) -> TaskResult:
        threads.add(threading.current_thread().name)
        time.sleep(0.05)
        return TaskResult(ctx.key)

    await walk(world, 4)
    async with running(world, work(blocking)):
        await until(lambda: world.states() == ["ready"] * 4)
    assert threads
    assert not threads & {"MainThread", "handlers", "journal"}


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("a text", "returned str, not TaskResult or None"),
        (False, "returned bool"),
        (TaskResult(""), "must be text that is not empty"),
        (TaskResult(b"bytes"), "must be text"),  # type: ignore[arg-type]
        (TaskResult(None), "must be text"),  # type: ignore[arg-type]
        (TaskResult("p", "text"), "data is str, not bytes"),  # type: ignore[arg-type]
        (TaskResult("p", bytearray(b"x")), "data is bytearray, not bytes"),  # type: ignore[arg-type]
        (TaskResult("p\ud800"), "not text that UTF-8 can write"),
        (TaskResult("nul\0"), "holds a NUL character"),
        (TaskResult("p" * 70_000), "proof_of_task has 70000 bytes"),
        (TaskResult("é" * 40_000), "proof_of_task has 80000 bytes"),
        (TaskResult("p", b"d" * 300_000), "data 300000"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_must_not_be_signed_is_never_signed(world: World, result: Any, said: str) -> None:
    async def bad(_ctx: Context) -> Any:
        return result

    await walk(world)
    async with running(world, work(bad, max_attempts=2)):
        await until(lambda: world.states() == ["failed"])
    row = world.row()
    assert said in row["error"]
    assert (row["digest"], row["attempts"]) == (None, 2)


async def test_the_largest_result_that_is_allowed_is_signed(world: World) -> None:
    async def large(_ctx: Context) -> TaskResult:
        return TaskResult("p" * 65_536, b"d" * 262_144)

    await walk(world)
    async with running(world, work(large)):
        await until(lambda: world.states() == ["ready"])


# Failures


class Awkward(Exception):
    """Cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no text either")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("no price"), "ValueError: no price"),
        (KeyError(), "KeyError"),
        (TimeoutError("the handler's own"), "TimeoutError: the handler's own"),
        (ExceptionGroup("two", [ValueError("a"), OSError("b")]), "two"),
        (ValueError("x" * 100_000), "xxx"),
        (ValueError("line\nbreaks"), "line\nbreaks"),
        (StopAsyncIteration(), "StopAsyncIteration"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_an_exception_is_tried_again_and_then_fails_with_its_last_reason(
    world: World, error: Exception, said: str
) -> None:
    attempts: list[int] = []

    async def bad(ctx: Context) -> None:
        attempts.append(ctx.attempt)
        raise error

    await walk(world)
    async with running(world, work(bad, max_attempts=3)):
        await until(lambda: world.states() == ["failed"])
    row = world.row()
    assert said in row["error"]
    assert row["error"].startswith("attempt 3: ")
    assert len(row["error"]) < 1200
    assert (attempts, row["attempts"]) == ([1, 2, 3], 3)


async def test_the_reason_of_a_try_that_is_to_be_repeated_is_on_the_row(world: World) -> None:
    gate = threading.Event()

    def twice(ctx: Context) -> TaskResult:
        if ctx.attempt == 1:
            raise ValueError("not yet")
        gate.wait(5)
        return TaskResult("p")

    await walk(world)
    async with running(world, work(twice)):
        await until(lambda: world.row()["attempts"] == 2)
        assert world.row()["error"].startswith("ValueError: not yet")
        gate.set()
        await until(lambda: world.states() == ["ready"])
    assert world.row()["error"] is None


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_handler_that_takes_too_long_is_given_up(world: World, kind: str) -> None:
    gate = threading.Event()

    async def hang(_ctx: Context) -> None:
        await asyncio.sleep(60)

    def hang_in_a_thread(_ctx: Context) -> None:
        gate.wait(5)

    await walk(world)
    async with running(world, work(hang if kind == "async" else hang_in_a_thread, timeout_s=0.05, max_attempts=2)):
        await until(lambda: world.states() == ["failed"])
    gate.set()
    assert world.row()["error"] == "attempt 2: no result within timeout_s = 0.05"


async def test_a_failed_attempt_names_the_line_of_the_handler_that_raised(world: World) -> None:
    async def bad(_ctx: Context) -> None:
        raise RuntimeError("broken")

    await walk(world)
    async with running(world, work(bad, max_attempts=1)):
        await until(lambda: world.states() == ["failed"])
    assert "test_runner.py:" in world.row()["error"]


async def test_a_failing_handler_leaves_the_other_rules_running(world: World) -> None:
    async def bad(_ctx: Context) -> None:
        raise RuntimeError("broken")

    await world.walk(fired("blocks", block(11)), fired("blocks-once", block(11)))
    async with running(world, work(bad, max_attempts=1), work(good, "blocks-once")):
        await until(lambda: world.states() == ["failed", "ready"])


async def test_a_failure_is_one_line(world: World, logs: list[Any]) -> None:
    async def bad(_ctx: Context) -> None:
        raise RuntimeError("broken")

    await walk(world)
    async with running(world, work(bad, max_attempts=2)):
        await until(lambda: world.states() == ["failed"])
    told = [(line["log_level"], line["event"]) for line in logs if line["log_level"] != "debug"]
    assert told == [("warning", "handler.failed"), ("error", "task.failed")]


async def test_an_exception_whose_text_no_encoding_can_write_fails_the_task_alone(world: World) -> None:
    async def bad(_ctx: Context) -> None:
        raise ValueError("file \udcff is missing")

    await walk(world)
    async with running(world, work(bad, max_attempts=2)):
        await until(lambda: world.states() == ["failed"])
        await walk(world)
        await until(lambda: world.states() == ["failed", "failed"])


@pytest.mark.parametrize("error", [Awkward(), asyncio.CancelledError(), SystemExit(3), KeyboardInterrupt()], ids=repr)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_whatever_a_handler_raises_ends_as_a_row_and_the_next_one_runs(
    world: World, error: BaseException
) -> None:
    async def bad(ctx: Context) -> TaskResult:
        if ctx.trigger.block_number == START + 1:
            raise error
        return TaskResult(ctx.key)

    await walk(world)
    stage = asyncio.ensure_future(
        Runner([work(bad, max_attempts=1, concurrency=1)], SIGNER, world.journal).run(asyncio.Event())
    )
    try:
        await until(lambda: world.states() == ["failed"], 4)
        await walk(world)
        await until(lambda: world.states() == ["failed", "ready"], 4)
    finally:
        stage.cancel()
        await asyncio.wait([stage])


# Bounds and order


async def test_no_more_run_at_a_time_than_the_rule_allows_and_as_many_as_it_allows(world: World) -> None:
    now = most = 0

    async def count(ctx: Context) -> TaskResult:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return TaskResult(ctx.key)

    await walk(world, 30)
    async with running(world, work(count, concurrency=5)):
        await until(lambda: world.states() == ["ready"] * 30)
    assert most == 5


async def test_each_rule_has_slots_of_its_own(world: World) -> None:
    async def hang(_ctx: Context) -> None:
        await asyncio.sleep(60)

    await world.walk(*[fired("blocks", block(number)) for number in (11, 12)], fired("blocks-once", block(12)))
    async with running(world, work(hang, concurrency=1, timeout_s=4, max_attempts=1), work(good, "blocks-once")):
        await until(lambda: world.states() == ["running", "pending", "ready"], 3.5)
        await until(lambda: world.states() == ["failed", "running", "ready"])


async def test_with_one_slot_tasks_run_in_the_order_of_block_and_log(world: World) -> None:
    seen: list[tuple[int, int]] = []

    async def note(ctx: Context) -> TaskResult:
        await asyncio.sleep(0.001)
        seen.append((ctx.trigger.block_number, ctx.attempt))
        return TaskResult(ctx.key)

    await walk(world, 20)
    async with running(world, work(note, concurrency=1)):
        await walk(world, 20)
        await until(lambda: world.states() == ["ready"] * 40)
    assert seen == [(number, 1) for number in range(11, 51)]


async def test_with_one_slot_the_events_of_a_block_run_in_the_order_of_their_index(world: World) -> None:
    order: list[str] = []

    async def note(ctx: Context) -> TaskResult:
        order.append(ctx.key)
        return TaskResult(ctx.key)

    occasions = [event("events", block(11), tx=9 - index, index=index) for index in range(10)]
    await world.walk(*occasions)
    async with running(world, work(note, "events", concurrency=1)):
        await until(lambda: world.states() == ["ready"] * 10)
    assert order == [occasion.key(CHAIN_ID) for occasion in occasions]


# Holding


@pytest.mark.parametrize(
    ("hold", "far_enough"),
    [(Hold(confirmations=3), 14), (Hold(finality="finalized"), 20), (Hold(finality="safe"), 20)],
    ids=str,
)
async def test_a_held_task_waits_for_its_block_to_settle(world: World, hold: Hold, far_enough: int) -> None:
    await walk(world)
    async with running(world, work(good, hold=hold)):
        await world.walk(to=block(far_enough - 1), final=10)
        await asyncio.sleep(0.05)
        assert world.states() == ["pending"]
        await world.walk(to=block(far_enough), final=11)
        await until(lambda: world.states() == ["ready"], 4)


async def test_a_held_task_is_not_run_before_its_chain_was_read_again(world: World) -> None:
    await world.walk(fired("blocks", block(11)), to=block(20))
    await world.restart()
    world.journal.cursors.clear()
    world.journal.frontiers.clear()
    async with running(world, work(good, hold=Hold(confirmations=1))):
        await asyncio.sleep(0.3)
        assert world.states() == ["pending"]
        world.journal.stand(CHAIN, block(20).cursor, frontier(20))
        await world.walk(to=block(21))
        await until(lambda: world.states() == ["ready"], 4)


async def test_a_reorg_while_a_task_is_held_cancels_it(world: World) -> None:
    await walk(world)
    async with running(world, work(good, hold=Hold(confirmations=2))):
        await world.fork(block(START), to=block(12, "b"))
        await world.walk(to=block(20, "b"))
        await asyncio.sleep(0.05)
        assert world.states() == ["cancelled"]


async def test_a_task_older_than_the_rule_allows_expires(world: World) -> None:
    await walk(world)
    async with running(world, work(good, max_age="10m")):
        await until(lambda: world.states() == ["expired"])
    assert world.row()["attempts"] == 0


# Reorgs meanwhile


async def test_a_result_for_a_block_that_left_meanwhile_is_discarded(world: World, logs: list[Any]) -> None:
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def slow(ctx: Context) -> TaskResult:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(gate.wait(), loop))
        return TaskResult(ctx.key)

    await walk(world)
    async with running(world, work(slow)):
        await until(lambda: world.states() == ["running"])
        await world.fork(block(START), to=block(11, "b"))
        gate.set()
        await until(lambda: any(line["event"] == "result.discarded" for line in logs))
    row = world.row()
    assert (row["state"], row["digest"]) == ("cancelled", None)


async def test_a_task_whose_block_returns_while_its_old_execution_still_runs_ends_once(world: World) -> None:
    gates: list[threading.Event] = [threading.Event(), threading.Event()]
    begun: list[int] = []

    def slow(_ctx: Context) -> TaskResult:
        number = len(begun)
        begun.append(number)
        gates[number].wait(5)
        return TaskResult(f"execution {number}")

    await walk(world)
    async with running(world, work(slow, concurrency=2)):
        await until(lambda: len(begun) == 1)
        await world.fork(block(START), to=block(11, "b"))
        await world.fork(block(START), fired("blocks", block(11)))
        await until(lambda: len(begun) == 2)
        gates[0].set()
        await asyncio.sleep(0.05)
        assert world.states() == ["running"]
        gates[1].set()
        await until(lambda: world.states() == ["ready"])
    assert world.row()["proof_of_task"] == "execution 1"


async def test_stopping_waits_for_the_new_execution_of_a_task_whose_old_one_was_discarded(world: World) -> None:
    gates = [threading.Event(), threading.Event()]
    begun: list[int] = []

    def slow(_ctx: Context) -> TaskResult:
        number = len(begun)
        begun.append(number)
        gates[number].wait(5)
        return TaskResult(f"execution {number}")

    await walk(world)
    async with running(world, work(slow, concurrency=2)):
        await until(lambda: len(begun) == 1)
        await world.fork(block(START), to=block(11, "b"))
        await world.fork(block(START), fired("blocks", block(11)))
        await until(lambda: len(begun) == 2)
        gates[0].set()
        await asyncio.sleep(0.1)
        asyncio.get_running_loop().call_later(0.2, gates[1].set)
    gates[1].set()
    assert world.states() == ["ready"]


# Stopping


async def test_stopping_finishes_what_is_in_hand_and_claims_nothing_more(world: World) -> None:
    async def slow(ctx: Context) -> TaskResult:
        await asyncio.sleep(0.1)
        return TaskResult(ctx.key)

    await walk(world, 10)
    async with running(world, work(slow, concurrency=3)):
        await until(lambda: world.states().count("running") == 3)
    assert world.states() == ["ready"] * 3 + ["pending"] * 7


async def test_what_is_cut_short_is_put_back_and_its_attempt_does_not_count(world: World) -> None:
    async def hang(_ctx: Context) -> None:
        await asyncio.sleep(60)

    await walk(world, 2)
    task = asyncio.ensure_future(Runner([work(hang)], SIGNER, world.journal).run(asyncio.Event()))
    await until(lambda: world.states() == ["running"] * 2)
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()
    assert [(row["state"], row["attempts"]) for row in world.rows().values()] == [("pending", 0)] * 2
    async with running(world, work(good)):
        await until(lambda: world.states() == ["ready"] * 2)


async def test_a_cut_off_handler_sees_its_cancellation(world: World) -> None:
    begun, seen = threading.Event(), threading.Event()

    async def careful(_ctx: Context) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.set()
            raise

    await walk(world)
    task = asyncio.ensure_future(Runner([work(careful)], SIGNER, world.journal).run(asyncio.Event()))
    await until(begun.is_set)
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert seen.is_set()


async def test_stopping_an_idle_runner_takes_no_time(world: World) -> None:
    begun = time.monotonic()
    async with running(world, work(good)):
        await asyncio.sleep(0.01)
    assert time.monotonic() - begun < 1


HANGS = """
import asyncio, sys, threading, time
from pathlib import Path
sys.path[:0] = [{unit!r}, {here!r}]
from world import SIGNER, World, block, fired, until
from listener.runner import Runner
from works import work

def hang(_ctx):
    time.sleep(60)

async def main():
    async with World(Path(sys.argv[1])) as world:
        await world.walk(fired("blocks", block(11)))
        task = asyncio.ensure_future(Runner([work(hang)], SIGNER, world.journal).run(asyncio.Event()))
        await until(lambda: world.states() == ["running"])
        task.cancel()
        await asyncio.wait([task])
        print(world.states(), flush=True)

asyncio.run(main())
print("ended", flush=True)
"""


def test_an_ordinary_function_that_hangs_does_not_keep_the_process_from_ending(tmp_path: Path) -> None:
    here = Path(__file__).parent
    script = HANGS.format(unit=str(here.parent), here=str(here))
    done = subprocess.run(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-c", script, str(tmp_path / "listener.db")],
        capture_output=True,
        text=True,
        timeout=30,  # half of what the function hangs
        check=True,
    )
    assert done.stdout.splitlines() == ["['pending']", "ended"]


async def test_a_row_that_comes_due_unannounced_is_run_however_busy_other_rules_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart no timer knows of the pauses that were written before it."""
    monkeypatch.setattr(runner_module, "POLL_S", 0.1)
    await walk(world)
    connection = sqlite3.connect(world.path)
    connection.execute("UPDATE tasks SET not_before = ?", (now_us() + 300_000,))
    connection.commit()
    connection.close()
    async with running(world, work(good), work(good, "blocks-once", concurrency=200)):
        for _ in range(40):  # each result wakes the stage
            await walk(world, rule="blocks-once")
            await asyncio.sleep(0.03)
            if world.row()["state"] == "ready":
                return
    pytest.fail("it was never looked for")


async def test_what_was_in_hand_when_a_process_ended_runs_one_at_a_time_beside_the_rest(world: World) -> None:
    at_once: list[int] = []
    running_now: set[int] = set()

    async def slow(ctx: Context) -> TaskResult:
        if ctx.attempt > 1:
            running_now.add(ctx.trigger.block_number)
            at_once.append(len(running_now))
        await asyncio.sleep(0.02)
        running_now.discard(ctx.trigger.block_number)
        return TaskResult(ctx.key)

    await walk(world, 6)
    await walk(world, 2, rule="blocks-once")
    await world.claim("blocks")
    await world.claim("blocks-once", slots=1)
    assert await world.restart({}) == (7, 0)
    async with running(world, work(slow), work(slow, "blocks-once")):
        await until(lambda: world.states() == ["ready"] * 8)
    assert at_once == [1] * 7


async def test_after_a_start_nothing_runs_before_the_cursor_was_compared_with_its_chain(world: World) -> None:
    """Blocks may have left the chain while nobody looked: what was pending for them must never be signed."""
    ran: list[int] = []

    async def record(ctx: Context) -> TaskResult:
        ran.append(ctx.trigger.block_number)
        return TaskResult(ctx.key)

    await walk(world, 2)
    world.journal.looked.clear()
    async with running(world, work(record)):
        await asyncio.sleep(0.2)
        assert (world.states(), ran) == (["pending"] * 2, [])
        await world.fork(block(11), to=block(12, "b"))
        await until(lambda: world.states() == ["ready", "cancelled"])


async def test_while_a_chain_is_halted_nothing_runs_for_its_blocks(world: World) -> None:
    await walk(world, 2)
    await world.journal.halt(CHAIN, "it left us below its final block")
    async with running(world, work(good)):
        await asyncio.sleep(0.2)
        assert world.states() == ["pending"] * 2
        await world.journal.halt(CHAIN, None)
        world.journal.look(CHAIN)
        await until(lambda: world.states() == ["ready"] * 2)


@pytest.mark.parametrize("ending", ["a result", "nothing to do", "a failure"])
async def test_what_a_handler_had_in_hand_when_its_chain_halted_is_not_signed_and_runs_again(
    world: World, ending: str
) -> None:
    begun, halted = asyncio.Event(), threading.Event()

    async def caught(ctx: Context) -> TaskResult | None:
        if not begun.is_set():
            begun.set()
            await asyncio.to_thread(halted.wait, 10)
            if ending == "a failure":
                raise ValueError("the block is gone")
            if ending == "nothing to do":
                return None
        return await good(ctx)

    await walk(world)
    async with running(world, work(caught, max_attempts=1)):
        await until(begun.is_set)
        await world.journal.halt(CHAIN, "it left us below its final block")
        halted.set()
        await until(lambda: world.states() == ["pending"])
        row = world.row()
        assert (row["signature"], row["attempts"]) == (None, 0)
        assert "halted while it was executed" in row["error"]
        await world.journal.halt(CHAIN, None)
        world.journal.look(CHAIN)
        await until(lambda: world.states() == ["ready"])


async def test_a_handler_that_leaves_its_own_task_cancelled_ends_as_a_row(world: World) -> None:
    async def selfish(_ctx: Context) -> TaskResult:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)
        return TaskResult("never")

    await walk(world)
    async with running(world, work(selfish, max_attempts=1)):
        await until(lambda: world.states() == ["failed"], 3)


async def test_a_rule_that_keeps_an_order_runs_its_suspects_before_younger_tasks(world: World) -> None:
    order: list[tuple[str, int]] = []

    async def slow(ctx: Context) -> TaskResult:
        order.append((ctx.trigger.rule, ctx.trigger.block_number))
        await asyncio.sleep(0.05)
        return TaskResult(ctx.key)

    await walk(world, 1)
    await walk(world, 3, rule="blocks-once")
    await world.claim("blocks")
    await world.claim("blocks-once", slots=1)
    await world.restart({})
    async with running(world, work(slow), work(slow, "blocks-once", concurrency=1)):
        await until(lambda: world.states() == ["ready"] * 4)
    assert [number for rule, number in order if rule == "blocks-once"] == [12, 13, 14]


# Counting


async def test_each_execution_and_each_end_is_counted_beside_its_line(world: World, logs: list[Any]) -> None:
    async def fails_first(ctx: Context) -> None:
        if ctx.attempt == 1:
            raise RuntimeError("once")

    def counted() -> list[float]:
        value = metrics.registry.get_sample_value
        rule = {"rule": "blocks"}
        return [
            value("listener_handler_seconds_count", rule) or 0,
            value("listener_handler_failures_total", rule) or 0,
            value("listener_tasks_ended_total", {**rule, "state": "skipped"}) or 0,
        ]

    before = counted()
    await walk(world)
    async with running(world, work(fails_first)):
        await until(lambda: world.states() == ["skipped"])
    assert [after - then for after, then in zip(counted(), before, strict=True)] == [2, 1, 1]
    assert [line["event"] for line in logs if line["log_level"] != "debug"] == ["handler.failed", "task.skipped"]
