"""A rule's ``settings`` table as its task module's ``Settings``."""

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ValidationError

from listener.errors import ConfigError
from listener.rules.nearest import suggestion


def settings_of(module: ModuleType, table: Mapping[str, Any]) -> BaseModel | None:
    """
    Read the table.

    Raises:
        ConfigError: one line for each key that the module's Settings does not take; values are never shown, for a
            setting may be a secret.
    """
    model = getattr(module, "Settings", None)
    if model is None:
        if table:
            keys = ", ".join(table)
            raise ConfigError(
                f"settings: {module.__name__} has no Settings to take {keys}; write one, or leave them out"
            )
        return None
    if not isinstance(model, type) or not issubclass(model, BaseModel):
        raise ConfigError(
            f"settings: Settings in {module.__name__} is not a pydantic model; write class Settings(BaseModel)"
        )
    problems = list(_unknown(model, table))
    try:
        settings = model.model_validate(dict(table))
    except ValidationError as error:
        problems.extend(_line(details["loc"], details["msg"]) for details in error.errors(include_url=False))
    except Exception as error:  # a validator of the user's may raise anything
        raise ConfigError(f"settings: Settings in {module.__name__} raised {type(error).__name__}") from error
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return settings


def _unknown(model: type[BaseModel], table: Mapping[str, Any]) -> Iterator[str]:
    """Find keys that the model would drop: pydantic ignores them unless told otherwise, and a slip would go unseen."""
    aliases = [info.validation_alias for info in model.model_fields.values() if info.validation_alias is not None]
    if model.model_config.get("extra", "ignore") != "ignore" or not all(isinstance(alias, str) for alias in aliases):
        return  # the model looks itself, or takes its values from places that only pydantic finds
    known = {*model.model_fields, *map(str, aliases)}
    for key in table:
        if key not in known:
            yield f'settings: unknown key "{key}"{suggestion(key, known)}'


def _line(place: tuple[int | str, ...], message: str) -> str:
    where = ".".join(["settings", *map(str, place)])
    return f"{where}: {message.removeprefix('Value error, ').replace('Input should', 'should')}"
