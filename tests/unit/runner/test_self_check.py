"""A result is judged by the task's own ``validate`` before it is signed; what it does not approve never is."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs
from works import Context, good, running, work
from world import SIGNER, World, block, fired, until

from listener import metrics
from listener import runner as runner_package
from listener.model import Claim, ClaimContext, TaskResult, Verdict
from listener.runner import Runner
from listener.runner import handler_loop as loop_module

runner_module = sys.modules[f"{runner_package.__name__}.runner"]
Judging = ClaimContext[Any]


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr(runner_module, "POLL_S", 0.2)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with capture_logs():
        yield


def counted(verdict: str) -> float:
    return metrics.registry.get_sample_value("listener_self_checks_total", {"rule": "blocks", "verdict": verdict}) or 0


async def test_a_result_that_is_approved_is_signed_as_it_was_judged(world: World) -> None:
    claims: list[Claim] = []

    async def validate(_ctx: Judging, claim: Claim) -> Verdict:
        assert world.states() == ["running"], "judged before anything of it is on disk"
        claims.append(claim)
        return Verdict.approve()

    before = counted("approve")
    await world.walk(fired("blocks", block(11)))
    async with running(world, work(good, validate=validate)):
        await until(lambda: world.states() == ["ready"])
    row = world.row()
    assert claims == [Claim(row["proof_of_task"], b"data", 1, SIGNER.address)]
    assert (row["attempts"], counted("approve") - before) == (1, 1)


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (Verdict.reject("wrong price"), "self-check: the task's own validate rejects it: wrong price"),
        (Verdict.unsure("no source"), "self-check: the task's own validate is unsure: no source"),
        (Verdict.reject(""), "self-check: the task's own validate rejects it: it gave no reason"),
    ],
    ids=str,
)
async def test_what_is_not_approved_is_executed_again_and_at_last_fails_unsigned(
    world: World, verdict: Verdict, said: str
) -> None:
    executed: list[int] = []

    async def execute(ctx: Context) -> TaskResult:
        executed.append(ctx.attempt)
        return TaskResult(ctx.key)

    async def validate(_ctx: Judging, _claim: Claim) -> Verdict:
        return verdict

    before = counted(verdict.word)
    await world.walk(fired("blocks", block(11)))
    async with running(world, work(execute, validate=validate, max_attempts=3)):
        await until(lambda: world.states() == ["failed"])
    row = world.row()
    assert row["error"] == f"attempt 3: {said}"
    assert (row["digest"], row["signature"], row["proof_of_task"], row["attempts"]) == (None, None, None, 3)
    assert (executed, counted(verdict.word) - before) == ([1, 2, 3], 3)


async def test_an_execution_that_is_approved_at_last_is_signed(world: World) -> None:
    async def execute(ctx: Context) -> TaskResult:
        return TaskResult(f"attempt {ctx.attempt}")

    async def validate(_ctx: Judging, claim: Claim) -> Verdict:
        return Verdict.approve() if claim.proof_of_task == "attempt 3" else Verdict.unsure("not yet")

    await world.walk(fired("blocks", block(11)))
    async with running(world, work(execute, validate=validate)):
        await until(lambda: world.states() == ["ready"])
    assert (world.row()["proof_of_task"], world.row()["attempts"], world.row()["error"]) == ("attempt 3", 3, None)


async def test_a_validator_that_raises_fails_the_task_with_what_was_raised_and_where(world: World) -> None:
    def validate(_ctx: Judging, _claim: Claim) -> Verdict:
        raise KeyError("price")

    await world.walk(fired("blocks", block(11)))
    async with running(world, work(good, validate=validate, max_attempts=1)):
        await until(lambda: world.states() == ["failed"])
    assert "is unsure: validate raised KeyError: KeyError: 'price' (test_self_check.py:" in world.row()["error"]


async def test_a_rule_may_do_without_its_self_check(world: World) -> None:
    async def validate(_ctx: Judging, _claim: Claim) -> Verdict:
        return Verdict.reject("never")

    await world.walk(fired("blocks", block(11)))
    async with running(world, work(good, validate=validate, self_check=False)):
        await until(lambda: world.states() == ["ready"])


async def test_nothing_to_do_needs_no_verdict(world: World) -> None:
    async def nothing(_ctx: Context) -> None:
        return None

    async def validate(_ctx: Judging, _claim: Claim) -> Verdict:
        return Verdict.reject("never")

    await world.walk(fired("blocks", block(11)))
    async with running(world, work(nothing, validate=validate)):
        await until(lambda: world.states() == ["skipped"])


async def test_the_claim_names_the_definition_id_that_was_journaled(world: World) -> None:
    seen: list[int] = []

    async def validate(_ctx: Judging, claim: Claim) -> Verdict:
        seen.append(claim.task_definition_id)
        return Verdict.approve()

    await world.walk(fired("blocks-once", block(11)))  # journaled for definition 2; the rule says 1 by now
    async with running(world, work(good, "blocks-once", validate=validate)):
        await until(lambda: world.states() == ["ready"])
    assert seen == [2]


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_self_check_has_the_time_of_an_execution_for_itself_and_no_more(world: World, kind: str) -> None:
    gate = threading.Event()

    async def slow(ctx: Context) -> TaskResult:
        await asyncio.sleep(0.15)
        return TaskResult(ctx.key)

    async def validate(ctx: Judging, _claim: Claim) -> Verdict:
        assert ctx.deadline > 0.15
        await asyncio.sleep(60)
        return Verdict.approve()

    def validate_in_a_thread(ctx: Judging, _claim: Claim) -> Verdict:
        assert ctx.deadline > 0.15
        gate.wait(10)
        return Verdict.approve()

    check = validate if kind == "async" else validate_in_a_thread
    await world.walk(fired("blocks", block(11)))
    async with running(world, work(slow, validate=check, timeout_s=0.3, max_attempts=1)):
        await until(lambda: world.states() == ["failed"])
    gate.set()
    assert world.row()["error"].endswith("is unsure: no verdict within timeout_s = 0.3")


async def test_a_self_check_in_its_time_is_not_given_up_for_what_the_execution_took(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "STUCK_AFTER_S", 0.05)
    monkeypatch.setattr(loop_module, "OVERDUE_S", 0.1)

    async def slow(ctx: Context) -> TaskResult:
        await asyncio.sleep(1.2)
        return TaskResult(ctx.key)

    async def as_slow(_ctx: Judging, _claim: Claim) -> Verdict:
        await asyncio.sleep(1.2)
        return Verdict.approve()

    await world.walk(fired("blocks", block(11)))
    async with running(world, work(slow, validate=as_slow, timeout_s=2, max_attempts=1)):
        await until(lambda: world.states() not in (["pending"], ["running"]))
    assert world.states() == ["ready"]


async def test_a_self_check_that_swallows_its_cancellation_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "STUCK_AFTER_S", 0.05)
    monkeypatch.setattr(loop_module, "OVERDUE_S", 0.1)
    release = threading.Event()

    async def stubborn(_ctx: Judging, _claim: Claim) -> Verdict:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
        return Verdict.approve()

    await world.walk(fired("blocks", block(11)))
    async with running(world, work(good, validate=stubborn, timeout_s=0.05, max_attempts=1)):
        await until(lambda: world.states() == ["failed"])
        release.set()
        await asyncio.sleep(0.1)
    assert world.states() == ["failed"]
    assert "it did not end when it was cancelled" in world.row()["error"]


async def test_a_self_check_that_a_stop_cuts_off_puts_its_task_back_unsigned(world: World) -> None:
    begun = threading.Event()

    async def hang(_ctx: Judging, _claim: Claim) -> Verdict:
        begun.set()
        await asyncio.sleep(60)
        return Verdict.approve()

    await world.walk(fired("blocks", block(11)))
    task = asyncio.ensure_future(Runner([work(good, validate=hang)], SIGNER, world.journal).run(asyncio.Event()))
    await until(begun.is_set)
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert [(row["state"], row["attempts"], row["digest"]) for row in world.rows().values()] == [("pending", 0, None)]


async def test_a_runner_judges_the_claims_of_attesters_beside_its_tasks(world: World) -> None:
    async def validate(ctx: Judging, claim: Claim) -> Verdict:
        return Verdict.approve() if claim.proof_of_task == "good" else Verdict.reject(f"asked as {ctx.performer}")

    rule = work(good, validate=validate, self_check=False)
    async with running(world, rule) as runner:
        await asyncio.sleep(0)
        claims = [Claim(proof, b"", 1, SIGNER.address) for proof in ("good", "bad")]
        judged = [await runner.judge([rule], claim) for claim in claims]
    assert [each.verdict for each in judged] == [Verdict.approve(), Verdict.reject(f"asked as {SIGNER.address}")]
