"""A task module made ready to run: its functions and its settings, checked when the configuration is loaded."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from pydantic import BaseModel

from listener.errors import ConfigError
from listener.handlers.body import body_model
from listener.handlers.elector import elector
from listener.handlers.module import import_from
from listener.handlers.settings import settings_of


class Bound(Protocol):
    """What is asked of a rule here."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def task(self) -> str: ...  # noqa: D102
    @property
    def task_definition_id(self) -> int: ...  # noqa: D102
    @property
    def settings(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def election(self) -> Any: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Handler:
    """The functions of a task module, bound to one rule's settings."""

    module: str
    execute: Callable[..., Any]
    validate: Callable[..., Any] | None
    settings: BaseModel | None  # the module's Settings; None where it has none
    is_async: bool  # False: execute blocks, and belongs in a thread of its own
    body: type[BaseModel] | None = None  # the module's Body, for HTTP triggers; None where it has none
    elect: Callable[..., Any] | None = None  # the rule's own election; None where it has none
    validates_async: bool = False  # as is_async, of validate


def load(rules: Iterable[Bound], folder: Path) -> dict[str, Handler]:
    """
    Import each rule's task.

    Args:
        rules: the configuration's.
        folder: where ``config.toml`` stands; it comes first on the path.

    Returns:
        The handlers by the name of their rule.

    Raises:
        ConfigError: one line for each rule whose task cannot be used.
    """
    found: dict[str, Handler] = {}
    problems: list[str] = []
    listed = list(rules)
    for rule in listed:
        try:
            found[rule.name] = handler(rule, folder)
        except ConfigError as error:
            problems.extend(f"rule {rule.name}: {line}" for line in str(error).splitlines())
    problems.extend(_ambiguous([rule for rule in listed if rule.name in found], found))
    if problems:
        raise ConfigError("\n".join(problems))
    return found


def handler(rule: Bound, folder: Path) -> Handler:
    """
    Import one rule's task.

    Raises:
        ConfigError: it cannot be imported, has no ``execute``, or does not take the rule's settings.
    """
    module = import_from(folder, rule.task)
    execute = _function(module, "execute")
    if execute is None:
        raise ConfigError(f"no function execute in {rule.task}; it has: {_functions(module)}")
    validate = _function(module, "validate")
    return Handler(
        module=rule.task,
        execute=execute,
        validate=validate,
        settings=settings_of(module, rule.settings),
        is_async=inspect.iscoroutinefunction(execute),
        body=body_model(module),
        elect=elector(getattr(rule.election, "function", None), folder),
        validates_async=inspect.iscoroutinefunction(validate),
    )


def _function(module: ModuleType, name: str) -> Callable[..., Any] | None:
    """Give a function of a module that can be called the way we call it; None where there is none."""
    found: Callable[..., Any] | None = getattr(module, name, None)
    if found is None:
        return None
    arguments = ("ctx",) if name == "execute" else ("ctx", "claim")
    wanted = f"{name}({', '.join(arguments)})"
    if not callable(found) or inspect.isclass(found):
        raise ConfigError(f"{name} in {module.__name__} is not a function; write async def {wanted}")
    try:
        inspect.signature(found).bind(*arguments)
    except TypeError as error:
        given = f"{name}{inspect.signature(found)}"
        raise ConfigError(f"{given} in {module.__name__} cannot be called as {wanted}: {error}") from error
    return found


def _functions(module: ModuleType) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ]
    return ", ".join(names) or "no function at all"


def _ambiguous(rules: Iterable[Bound], handlers: Mapping[str, Handler]) -> Iterator[str]:
    """
    Find rules that share a task definition but not what judges it.

    An attester is told the definition's number and nothing of the rule, so there must be one answer to "who validates".
    """
    first: dict[int, Bound] = {}
    for rule in rules:
        other = first.setdefault(rule.task_definition_id, rule)
        pair = (handlers[rule.name], handlers[other.name])
        if all(one.validate is None for one in pair):
            continue
        if (rule.task, pair[0].settings, rule.election) != (other.task, pair[1].settings, other.election):
            yield (
                f"rule {rule.name}: task_definition_id {rule.task_definition_id} is also that of rule {other.name}, "
                f"with another task, other settings or another election, and its tasks are validated; "
                f"give it a number of its own"
            )
