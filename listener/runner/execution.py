"""
One execution of a handler: from a claimed task to a checked result or the reason why there is none.

Runs on the handlers' loop. Whatever a handler raises ends here, as a value.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import structlog
from eth_utils.address import is_address, to_checksum_address
from hexbytes import HexBytes

from listener.config import Hold, Rule
from listener.errors import BadTaskResult, ElectionFailed, HandlerFailed, HandlerTimeout
from listener.handlers import Handler, read_body
from listener.journal import Claimed
from listener.model import ChainReader, Finder, Proofs, TaskContext, TaskResult, Trigger
from listener.rules.abi import UndecodableLog
from listener.rules.matcher import Matcher
from listener.runner.calling import STOPPING, described, run

log = structlog.get_logger()

MAX_PROOF_BYTES = 64 * 1024
MAX_DATA_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Work:
    """What the runner needs of one rule."""

    rule: Rule
    chain: str
    matcher: Matcher | None  # None: no block makes its tasks
    handler: Handler
    hold: Hold
    chain_id: int
    reader: ChainReader
    finder: Finder
    proofs: Proofs  # of an execution
    looked_up: Proofs  # of a judgement: it stores nothing
    elect: Callable[[TaskContext[Any]], Awaitable[str]] | None = None  # None: every task is ours

    @property
    def judges_itself(self) -> bool:
        """Whether a result is judged before it is signed."""
        return self.rule.self_check and self.handler.validate is not None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one execution: a result, None for nothing to do, or a failure."""

    task: Claimed
    result: TaskResult | None
    failure: HandlerFailed | ElectionFailed | None
    took_s: float
    skipped: str = "nothing to do"  # why there is nothing to do
    executed: bool = True  # False: its election was as far as it came
    checked_s: float = 0.0  # how much of took_s its self-check took


class NotElected(Exception):
    """It is another operator's turn."""


async def execute(task: Claimed, work: Work, http: aiohttp.ClientSession, performer: str) -> Outcome:
    """Run the handler within its rule's time; every failure becomes part of the outcome."""
    begun = time.monotonic()
    result: TaskResult | None = None
    failure: HandlerFailed | ElectionFailed | None = None
    try:
        result = _checked(await _call(task, work, http, performer), task.rule)
    except (HandlerFailed, ElectionFailed) as error:
        failure = error
    except NotElected as error:
        return Outcome(task, None, None, time.monotonic() - begun, skipped=str(error), executed=False)
    except UndecodableLog as error:
        failure = HandlerFailed(f"the log does not fit the contract's ABI: {error}")
    except GeneratorExit:
        raise  # the loop is gone
    except BaseException as error:  # the user's code may raise anything, and one task's fault is its own
        if isinstance(error, asyncio.CancelledError) and error.args == (STOPPING,):
            raise  # it is ours; a handler may cancel its own task as well, and leave it so
        log.debug("handler.raised", rule=task.rule, task=task.id, exc_info=True)
        failure = HandlerFailed(described(error))
    reached = not isinstance(failure, ElectionFailed)
    return Outcome(task, result, failure, time.monotonic() - begun, executed=reached)


async def _call(task: Claimed, work: Work, http: aiohttp.ClientSession, performer: str) -> Any:
    rule = work.rule
    context = TaskContext(
        trigger=_trigger(task, work),
        key=task.key,
        attempt=task.attempt,
        settings=work.handler.settings,
        performer=performer,
        http=http,
        log=log.bind(rule=task.rule, task=task.id),
        reader=work.reader,
        proofs=work.proofs,
        ends_at=time.monotonic() + rule.timeout_s,
    )
    timer = asyncio.timeout(rule.timeout_s)
    reading = False
    try:
        async with timer:
            if work.elect is not None:
                reading = work.handler.elect is None
                await _check_turn(work.elect, context, performer)
                reading = False
            return await run(work.handler.execute, context, is_async=work.handler.is_async, rule=rule.name)
    except TimeoutError:
        if not timer.expired():
            raise  # the handler's own
        if reading:
            raise ElectionFailed(f"the operators were not read within timeout_s = {rule.timeout_s:g}") from None
        raise HandlerTimeout(f"no result within timeout_s = {rule.timeout_s:g}") from None


async def _check_turn(
    elect: Callable[[TaskContext[Any]], Awaitable[str]], context: TaskContext[Any], performer: str
) -> None:
    """
    Make sure that the task is ours.

    Raises:
        NotElected: it is another's.
        ElectionFailed: that cannot be known now.
        BadTaskResult: the user's own election named nobody.
    """
    operator = await elected(elect, context)
    if operator != to_checksum_address(performer):
        who = "nobody" if int(operator, 16) == 0 else f"operator {operator}"
        raise NotElected(f"not elected: it is the turn of {who} at block {context.trigger.block_number}")


async def elected(elect: Callable[[TaskContext[Any]], Awaitable[str]], context: TaskContext[Any]) -> str:
    """
    Ask an election, the user's own perhaps, for a checksummed address.

    Raises:
        ElectionFailed: it cannot be known now.
        BadTaskResult: the user's own election named nobody.
    """
    named = await elect(context)
    if not isinstance(named, str) or not is_address(named):
        raise BadTaskResult(f"rule {context.trigger.rule}: elect returned {named!r:.50}, which is no address")
    return to_checksum_address(named)


def _trigger(task: Claimed, work: Work) -> Trigger:
    event = None
    if task.log is not None and work.matcher is not None and work.matcher.filter is not None:
        event = work.matcher.filter.decode(task.log)
    return Trigger(
        rule=task.rule,
        chain=task.chain,
        chain_id=work.chain_id,
        block_number=task.block_number,
        block_hash=HexBytes(task.block_hash),
        block_timestamp=task.block_timestamp,
        epoch=task.epoch,
        event=event,
        body=None if task.body is None else read_body(work.handler.body, task.body),
        due=datetime.fromtimestamp(task.block_timestamp if task.due is None else task.due, UTC),
    )


def _checked(result: Any, rule: str) -> TaskResult | None:
    """
    Refuse what must not be signed.

    Raises:
        BadTaskResult: the handler has to return something else.
    """
    if result is None:
        return None
    if not isinstance(result, TaskResult):
        raise BadTaskResult(f"rule {rule}: execute returned {type(result).__name__}, not TaskResult or None")
    proof, data = result.proof_of_task, result.data
    if not isinstance(proof, str) or not proof:
        raise BadTaskResult(f"rule {rule}: proof_of_task is {proof!r:.50}; it must be text that is not empty")
    if not isinstance(data, bytes):
        raise BadTaskResult(f"rule {rule}: data is {type(data).__name__}, not bytes")
    try:
        size = len(proof.encode())
    except UnicodeEncodeError as error:
        raise BadTaskResult(f"rule {rule}: proof_of_task is not text that UTF-8 can write: {error.reason}") from None
    if "\0" in proof:
        raise BadTaskResult(f"rule {rule}: proof_of_task holds a NUL character, which not every journal can store")
    if size > MAX_PROOF_BYTES or len(data) > MAX_DATA_BYTES:
        raise BadTaskResult(
            f"rule {rule}: proof_of_task has {size} bytes and data {len(data)}; "
            f"at most {MAX_PROOF_BYTES} and {MAX_DATA_BYTES} are sent"
        )
    return TaskResult(proof, bytes(data))
