"""Rules of a configuration with made-up handlers: what the tests of the runner share."""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

from pydantic import BaseModel
from world import ASKED, CHAIN, CHAIN_ID, SIGNER, World, block, fired

from listener.config import Hold, Rule
from listener.handlers import Handler
from listener.model import TaskContext, TaskResult
from listener.proofs import LookUp, Store
from listener.proofs.memory import Memory
from listener.rules.matcher import Matcher
from listener.runner import Runner, Work

Context = TaskContext[Any]
PROOFS = Store(Memory(), cid_version=1, timeout_s=10, max_bytes=2**20)


class Reader:
    """No contract is read here."""

    def at(self, block: int | bytes | str) -> Any:
        raise NotImplementedError(block)

    async def find(self, block_number: int, log_index: int | None, patience_s: float) -> Any:
        raise NotImplementedError(block_number, log_index, patience_s)


def asked_work(execute: Callable[..., Any], body: type[BaseModel] | None = None) -> Work:
    """A rule whose tasks no block makes, with its handler."""
    rule = Rule(name=ASKED, task="tasks.none", task_definition_id=5, trigger={"type": "http"}, max_attempts=2)
    handler = Handler("tasks.none", execute, None, None, inspect.iscoroutinefunction(execute), body)
    return Work(
        rule=rule,
        chain=CHAIN,
        matcher=None,
        handler=handler,
        hold=Hold(),
        chain_id=CHAIN_ID,
        reader=Reader(),
        finder=Reader(),
        proofs=PROOFS,
        looked_up=LookUp(PROOFS),
    )


def work(
    execute: Callable[..., Any],
    name: str = "blocks",
    hold: Hold | None = None,
    validate: Callable[..., Any] | None = None,
    **settings: Any,
) -> Work:
    """A rule of the configuration with its handler."""
    rule = Rule(name=name, task="tasks.none", task_definition_id=1, trigger={"type": "block"}, **settings)
    return Work(
        rule=rule,
        chain=CHAIN,
        matcher=Matcher(name, CHAIN, rule.trigger),  # type: ignore[arg-type]
        handler=Handler(
            "tasks.none",
            execute,
            validate,
            None,
            is_async=inspect.iscoroutinefunction(execute),
            validates_async=inspect.iscoroutinefunction(validate),
        ),
        hold=hold or Hold(),
        chain_id=CHAIN_ID,
        reader=Reader(),
        finder=Reader(),
        proofs=PROOFS,
        looked_up=LookUp(PROOFS),
    )


async def good(ctx: Context) -> TaskResult:
    return TaskResult(f"{ctx.trigger.block_number}+{ctx.key}", b"data")


@contextlib.asynccontextmanager
async def running(world: World, *works: Work) -> AsyncIterator[Runner]:
    stage = Runner(works, SIGNER, world.journal)
    stop = asyncio.Event()
    task = asyncio.ensure_future(stage.run(stop))
    try:
        yield stage
    finally:
        stop.set()
        await asyncio.wait_for(task, 20)


async def walk(world: World, count: int = 1, rule: str = "blocks") -> None:
    first = world.cursor.number + 1
    await world.walk(*[fired(rule, block(first + number)) for number in range(count)])
