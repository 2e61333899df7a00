"""Rules of a configuration with made-up handlers: what the tests of the runner share."""

import inspect
from collections.abc import Callable
from typing import Any

from world import CHAIN, CHAIN_ID

from listener.config import Hold, Rule
from listener.handlers import Handler
from listener.model import TaskContext, TaskResult
from listener.rules.matcher import Matcher
from listener.runner import Work

Context = TaskContext[Any]


class Reader:
    """No contract is read here."""

    def at(self, block: int | bytes | str) -> Any:
        raise NotImplementedError(block)

    async def find(self, block_number: int, log_index: int | None, patience_s: float) -> Any:
        raise NotImplementedError(block_number, log_index, patience_s)


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
    )


async def good(ctx: Context) -> TaskResult:
    return TaskResult(f"{ctx.trigger.block_number}+{ctx.key}", b"data")
