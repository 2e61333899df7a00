"""A rule's own election: the function that its ``election`` table names, imported and checked."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from listener.errors import ConfigError
from listener.handlers.module import import_from
from listener.rules.nearest import suggestion


def elector(function: str | None, folder: Path) -> Callable[..., Any] | None:
    """
    Import ``module:name``; None where a rule names none.

    Raises:
        ConfigError: there is no such coroutine function of one argument.
    """
    if function is None:
        return None
    place, _, name = function.partition(":")
    module = import_from(folder, place)
    found: Callable[..., Any] | None = getattr(module, name, None)
    if found is None:
        names = [known for known, value in vars(module).items() if inspect.iscoroutinefunction(value)]
        raise ConfigError(f"election: no function {name} in {place}{suggestion(name, names)}")
    if not inspect.iscoroutinefunction(found):
        raise ConfigError(f"election: {name} in {place} is no coroutine function; write async def {name}(ctx) -> str")
    try:
        inspect.signature(found).bind("ctx")
    except TypeError as error:
        given = f"{name}{inspect.signature(found)}"
        raise ConfigError(f"election: {given} in {place} cannot be called as {name}(ctx): {error}") from error
    return found
