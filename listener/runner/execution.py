"""
One execution of a handler: from a claimed task to a checked result or the reason why there is none.

Runs on the handlers' loop. Whatever a handler raises ends here, as a value.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import structlog
from hexbytes import HexBytes

from listener.config import Hold, Rule
from listener.errors import BadTaskResult, HandlerFailed
from listener.handlers import Handler
from listener.journal import Claimed
from listener.model import ChainReader, Finder, TaskContext, TaskResult, Trigger
from listener.rules.abi import UndecodableLog
from listener.rules.matcher import Matcher
from listener.runner.calling import STOPPING, call, described

log = structlog.get_logger()

MAX_PROOF_BYTES = 64 * 1024
MAX_DATA_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Work:
    """What the runner needs of one rule."""

    rule: Rule
    matcher: Matcher
    handler: Handler
    hold: Hold
    chain_id: int
    reader: ChainReader
    finder: Finder

    @property
    def judges_itself(self) -> bool:
        """Whether a result is judged before it is signed."""
        return self.rule.self_check and self.handler.validate is not None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one execution: a result, None for nothing to do, or a failure."""

    task: Claimed
    result: TaskResult | None
    failure: HandlerFailed | None
    took_s: float


async def execute(task: Claimed, work: Work, http: aiohttp.ClientSession, performer: str) -> Outcome:
    """Run the handler within its rule's time; every failure becomes part of the outcome."""
    begun = time.monotonic()
    result: TaskResult | None = None
    failure: HandlerFailed | None = None
    try:
        result = _checked(await _call(task, work, http, performer), task.rule)
    except HandlerFailed as error:
        failure = error
    except UndecodableLog as error:
        failure = HandlerFailed(f"the log does not fit the contract's ABI: {error}")
    except GeneratorExit:
        raise  # the loop is gone
    except BaseException as error:  # the user's code may raise anything, and one task's fault is its own
        if isinstance(error, asyncio.CancelledError) and error.args == (STOPPING,):
            raise  # it is ours; a handler may cancel its own task as well, and leave it so
        log.debug("handler.raised", rule=task.rule, task=task.id, exc_info=True)
        failure = HandlerFailed(described(error))
    return Outcome(task, result, failure, time.monotonic() - begun)


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
        ends_at=time.monotonic() + rule.timeout_s,
    )
    handler = work.handler
    return await call(handler.execute, context, is_async=handler.is_async, timeout_s=rule.timeout_s, rule=rule.name)


def _trigger(task: Claimed, work: Work) -> Trigger:
    event = None
    if task.log is not None and work.matcher.filter is not None:
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
        due=datetime.fromtimestamp(task.block_timestamp, UTC),
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
