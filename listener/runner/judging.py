"""
One claim before a task's ``validate``: an attester's, or our own result before it is signed.

Runs on the handlers' loop. Whatever a validator raises ends here, as *unsure*: only a validator that says so rejects.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import aiohttp
import structlog

from listener import metrics
from listener.errors import HandlerFailed, HandlerTimeout
from listener.model import Claim, ClaimContext, Judgement, Scope, Trigger, Verdict
from listener.runner.calling import STOPPING, call, described, left_behind
from listener.runner.execution import Outcome, Work, elected

log = structlog.get_logger()

LEFT_BEHIND_MOST = 64  # threads that hang; with more of them nothing else is begun in a thread
REASON_MOST = 1000  # characters
# How long a chain that cannot be read, or is behind the performer's, is looked at again. An attester's node waits for
# its answer; our own result must not be lost because all endpoints were away for some seconds.
PATIENCE_S = 2.0
MOST_OF_IT = 0.8  # of timeout_s, so that the reason is still told in time


async def judge(works: Sequence[Work], claim: Claim, http: aiohttp.ClientSession, performer: str | None) -> Judgement:
    """
    Judge a claim by the rules that it may come from.

    A claim names a task definition and no rule, and several rules may share one: it is right when it is right for one
    of them, and wrong only when it is wrong for all.
    """
    found = Judgement(Verdict.unsure("no rule judges it"))
    for number, work in enumerate(works):
        judgement = await _judge(work, claim, http, performer)
        if judgement.verdict.approved:
            return judgement
        if number == 0 or judgement.verdict.approved is None:
            found = judgement
    return found


async def self_check(outcome: Outcome, work: Work, http: aiohttp.ClientSession, performer: str) -> Outcome:
    """
    Judge a result of ours as an attester would; one that is not approved is a failure of the execution.

    It has the rule's ``timeout_s`` for itself, as it has at an attester's: what ``execute`` left of its own time would
    make a slow execution fail that every attester approves.
    """
    task, result = outcome.task, outcome.result
    if result is None:
        return outcome
    begun = time.monotonic()
    claim = Claim(result.proof_of_task, result.data, task.task_definition_id, performer)
    judgement = await _judge(work, claim, http, performer, patience_s=float("inf"))
    verdict = judgement.verdict
    metrics.self_checks.labels(task.rule, verdict.word).inc()
    checked_s = time.monotonic() - begun
    took_s = outcome.took_s + checked_s
    if verdict.approved:
        return replace(outcome, took_s=took_s, checked_s=checked_s)
    said = "rejects it" if verdict.approved is False else "is unsure"
    failure = HandlerFailed(f"self-check: the task's own validate {said}: {judgement.told or 'it gave no reason'}")
    return Outcome(task, None, failure, took_s, checked_s=checked_s)


async def _judge(
    work: Work, claim: Claim, http: aiohttp.ClientSession, performer: str | None, patience_s: float = PATIENCE_S
) -> Judgement:
    handler, rule = work.handler, work.rule
    if handler.validate is None:
        return Judgement(Verdict.unsure(f"{handler.module} has no validate"))
    if not handler.validates_async and left_behind() >= LEFT_BEHIND_MOST:
        return Judgement(Verdict.unsure(f"{left_behind()} calls that ran out of time still go on"))
    try:
        verdict = await call(
            handler.validate,
            _context(work, claim, http, performer, patience_s),
            claim,
            is_async=handler.validates_async,
            timeout_s=rule.timeout_s,
            rule=rule.name,
        )
    except HandlerTimeout:
        return Judgement(Verdict.unsure(f"no verdict within timeout_s = {rule.timeout_s:g}"))
    except GeneratorExit:
        raise  # the loop is gone
    except BaseException as error:  # the user's code may raise anything
        if isinstance(error, asyncio.CancelledError) and error.args == (STOPPING,):
            raise
        log.debug("validator.raised", rule=rule.name, exc_info=True)
        return Judgement(Verdict.unsure(f"validate raised {type(error).__name__}"), described(error))
    return _checked(verdict)


def _context(
    work: Work, claim: Claim, http: aiohttp.ClientSession, performer: str | None, patience_s: float
) -> ClaimContext[Any]:
    scope = Scope(rule=work.rule.name, chain=work.chain, chain_id=work.chain_id)
    return ClaimContext(
        trigger=cast("Trigger", scope),
        key=claim.key,
        attempt=1,
        settings=work.handler.settings,
        performer=performer,
        http=http,
        log=log.bind(rule=work.rule.name, claim=claim.key),
        reader=work.reader,
        proofs=work.looked_up,
        ends_at=time.monotonic() + work.rule.timeout_s,
        claim=claim,
        finder=work.finder,
        elect=None if work.elect is None else partial(elected, work.elect),
        patience_s=min(patience_s, MOST_OF_IT * work.rule.timeout_s),
    )


def _checked(verdict: Any) -> Judgement:
    """Take nothing for a verdict that is none: an answer that is merely true must not become a vote."""
    if not isinstance(verdict, Verdict) or not any(verdict.approved is each for each in (True, False, None)):
        return Judgement(Verdict.unsure(f"validate returned {type(verdict).__name__}, not a Verdict"))
    return Judgement(Verdict(verdict.approved, str(verdict.reason)[:REASON_MOST]))
