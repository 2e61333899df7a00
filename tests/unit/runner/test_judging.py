"""A claim is judged by the task's ``validate``: only its own word approves or rejects, all else is unsure."""

import asyncio
import contextlib
import dataclasses
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs
from works import Reader, good, work

from listener.model import Claim, ClaimContext, Judgement, TaskContext, Verdict
from listener.runner import Judge, calling, judging
from listener.runner import handler_loop as loop_module
from listener.testing import context

PERFORMER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
CLAIM = Claim("12+proof", b"data", 1, PERFORMER)
Context = ClaimContext[Any]


@contextlib.asynccontextmanager
async def judged() -> AsyncIterator[Judge]:
    judge = Judge()
    stop = asyncio.Event()
    running = asyncio.ensure_future(judge.run(stop))
    await asyncio.sleep(0)
    try:
        yield judge
    finally:
        stop.set()
        await asyncio.wait_for(running, 20)


async def ask(validate: Callable[..., Any], **settings: Any) -> Judgement:
    async with judged() as judge:
        return await asyncio.wait_for(judge.judge([work(good, validate=validate, **settings)], CLAIM), 20)


@pytest.mark.parametrize(
    "verdict", [Verdict.approve(), Verdict.reject("wrong price"), Verdict.unsure("no source")], ids=lambda it: it.word
)
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_verdict_is_the_answer(verdict: Verdict, kind: str) -> None:
    async def validate(_ctx: Context, _claim: Claim) -> Verdict:
        return verdict

    def validate_in_a_thread(_ctx: Context, _claim: Claim) -> Verdict:
        assert threading.current_thread().name == "handler blocks"
        return verdict

    assert await ask(validate if kind == "async" else validate_in_a_thread) == Judgement(verdict)


async def test_a_validator_sees_the_claim_and_where_it_is_judged_and_no_block() -> None:
    seen: list[tuple[Context, Claim]] = []

    async def validate(ctx: Context, claim: Claim) -> Verdict:
        assert 0 < ctx.deadline <= 7
        seen.append((ctx, claim))
        return Verdict.approve()

    await ask(validate, timeout_s=7)
    ((ctx, claim),) = seen
    assert claim == CLAIM
    assert (ctx.trigger.rule, ctx.trigger.chain, ctx.trigger.chain_id) == ("blocks", "l2", 31337)
    assert (ctx.attempt, ctx.performer, ctx.key) == (1, None, CLAIM.key)
    for name in ("block_number", "block_hash", "event", "due"):
        with pytest.raises(AttributeError, match=f"ctx.trigger has no {name} in validate: read the block from"):
            getattr(ctx.trigger, name)


async def test_contracts_are_read_at_the_latest_block_and_where_the_task_pins_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Reader, "at", lambda _self, block: f"read at {block}")

    async def validate(ctx: Context, _claim: Claim) -> Verdict:
        return Verdict.unsure(f"{ctx.w3}, {ctx.at(12)}")

    assert (await ask(validate)).verdict.reason == "read at latest, read at 12"


@pytest.mark.parametrize("kind", ["none", "some", "no address"])
async def test_a_validator_asks_the_rules_election(kind: str) -> None:
    async def elect(ctx: TaskContext[Any]) -> str:
        assert ctx.trigger.block_number == 7
        return "bob" if kind == "no address" else PERFORMER.lower()

    async def validate(ctx: Context, _claim: Claim) -> Verdict:
        return Verdict.unsure(str(await ctx.elected(context(block_number=7))))

    asked = dataclasses.replace(work(good, validate=validate), elect=None if kind == "none" else elect)
    async with judged() as judge:
        verdict = (await asyncio.wait_for(judge.judge([asked], CLAIM), 20)).verdict
    said = {"none": "None", "some": PERFORMER, "no address": "validate raised BadTaskResult"}[kind]
    assert verdict == Verdict.unsure(said)


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_an_exception_is_unsure_and_only_the_operator_is_told_its_text(kind: str) -> None:
    async def validate(_ctx: Context, _claim: Claim) -> Verdict:
        raise ValueError("https://key@host is down")

    def validate_in_a_thread(_ctx: Context, _claim: Claim) -> Verdict:
        raise ValueError("https://key@host is down")

    judgement = await ask(validate if kind == "async" else validate_in_a_thread)
    assert judgement.verdict == Verdict.unsure("validate raised ValueError")
    assert judgement.told.startswith(
        "validate raised ValueError: ValueError: https://key@host is down (test_judging.py"
    )


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_no_verdict_in_time_is_unsure(kind: str) -> None:
    gate = threading.Event()

    async def validate(_ctx: Context, _claim: Claim) -> Verdict:
        await asyncio.sleep(60)
        return Verdict.approve()

    def validate_in_a_thread(_ctx: Context, _claim: Claim) -> Verdict:
        gate.wait(10)
        return Verdict.approve()

    judgement = await ask(validate if kind == "async" else validate_in_a_thread, timeout_s=0.05)
    gate.set()
    assert judgement.verdict == Verdict.unsure("no verdict within timeout_s = 0.05")


@pytest.mark.parametrize("value", [True, None, "approve", {"approved": True}, Verdict(approved="yes")], ids=str)  # type: ignore[arg-type]
async def test_what_is_no_verdict_is_unsure(value: Any) -> None:
    async def validate(_ctx: Context, _claim: Claim) -> Any:
        return value

    judgement = await ask(validate)
    assert judgement.verdict.approved is None
    assert judgement.verdict.reason.endswith(", not a Verdict")


async def test_a_verdict_after_its_time_is_unsure_also_when_the_validator_kept_the_loop_from_saying_so() -> None:
    async def validate(_ctx: Context, _claim: Claim) -> Verdict:
        time.sleep(0.2)  # noqa: ASYNC251 -- it blocks on purpose
        return Verdict.approve()

    judgement = await ask(validate, timeout_s=0.05)
    assert judgement.verdict == Verdict.unsure("no verdict within timeout_s = 0.05")


async def test_a_validator_that_cancels_itself_is_unsure() -> None:
    async def validate(_ctx: Context, _claim: Claim) -> Verdict:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)
        return Verdict.approve()

    assert (await ask(validate)).verdict == Verdict.unsure("validate raised CancelledError")


async def test_a_validator_that_swallows_its_cancellation_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "STUCK_AFTER_S", 0.05)
    monkeypatch.setattr(loop_module, "OVERDUE_S", 0.1)
    release = threading.Event()

    async def stubborn(_ctx: Context, _claim: Claim) -> Verdict:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
        return Verdict.approve()

    with capture_logs() as logs:
        async with judged() as judge:
            judgement = await asyncio.wait_for(judge.judge([work(good, validate=stubborn, timeout_s=0.05)], CLAIM), 20)
            release.set()
    assert judgement.verdict.approved is None
    assert "did not end when it was cancelled" in judgement.verdict.reason
    assert [line["rule"] for line in logs if line["event"] == "validator.overdue"] == ["blocks"]


async def test_threads_that_hang_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    before = calling.left_behind()
    monkeypatch.setattr(judging, "LEFT_BEHIND_MOST", before + 2)
    gate = threading.Event()
    begun: list[int] = []

    def hang(_ctx: Context, _claim: Claim) -> Verdict:
        begun.append(1)
        gate.wait(10)
        return Verdict.approve()

    async with judged() as judge:
        rule = work(good, validate=hang, timeout_s=0.05)
        reasons = [(await judge.judge([rule], CLAIM)).verdict.reason for _ in range(4)]
        assert len(begun) == 2
        assert reasons[2:] == [f"{before + 2} calls that ran out of time still go on"] * 2
        gate.set()
        while calling.left_behind() > before:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.01)
        assert (await judge.judge([rule], CLAIM)).verdict == Verdict.approve()


async def test_a_claim_is_right_when_it_is_right_for_one_of_the_rules_that_share_its_definition() -> None:
    def of(verdict: Verdict) -> Any:
        async def validate(_ctx: Context, _claim: Claim) -> Verdict:
            return verdict

        return work(good, validate=validate)

    yes, no, perhaps = of(Verdict.approve()), of(Verdict.reject("no")), of(Verdict.unsure("perhaps"))
    async with judged() as judge:
        words = [
            (await judge.judge(works, CLAIM)).verdict.word
            for works in ([no, yes], [perhaps, yes], [no, perhaps], [perhaps, no], [no, no])
        ]
    assert words == ["approve", "approve", "unsure", "unsure", "reject"]


async def test_what_is_asked_before_the_start_and_at_the_end_is_unsure() -> None:
    begun = threading.Event()

    async def hang(_ctx: Context, _claim: Claim) -> Verdict:
        begun.set()
        await asyncio.sleep(60)
        return Verdict.approve()

    judge = Judge()
    rule = work(good, validate=hang)
    assert (await judge.judge([rule], CLAIM)).verdict == Verdict.unsure("the daemon starts")
    async with judged() as judge:
        asked = judge.judge([rule], CLAIM)
        await asyncio.to_thread(begun.wait, 5)
    assert (await asyncio.wait_for(asked, 20)).verdict == Verdict.unsure("the daemon stops")
    assert (await asyncio.wait_for(judge.judge([rule], CLAIM), 20)).verdict == Verdict.unsure("the daemon stops")


async def test_a_validator_that_blocks_its_loop_leaves_nobody_waiting_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop_module, "STUCK_AFTER_S", 0.1)
    begun, release = threading.Event(), threading.Event()

    async def block(_ctx: Context, _claim: Claim) -> Verdict:
        begun.set()
        while not release.is_set():
            time.sleep(0.01)  # noqa: ASYNC251 - what a user should not write
        return Verdict.approve()

    async with judged() as judge:
        asked = judge.judge([work(good, validate=block)], CLAIM)
        await asyncio.to_thread(begun.wait, 5)
    assert (await asyncio.wait_for(asked, 20)).verdict == Verdict.unsure("the daemon stops")
    release.set()
