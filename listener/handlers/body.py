"""An HTTP trigger's body as the task module's ``Body``, or as the plain value where it has none."""

import json
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ValidationError

from listener.errors import BadBody, ConfigError


def body_model(module: ModuleType) -> type[BaseModel] | None:
    """
    Give a module's Body; None where it has none.

    Raises:
        ConfigError: it is not a pydantic model.
    """
    model = getattr(module, "Body", None)
    if model is None or (isinstance(model, type) and issubclass(model, BaseModel)):
        return model
    raise ConfigError(f"Body in {module.__name__} is not a pydantic model; write class Body(BaseModel)")


def read_body(model: type[BaseModel] | None, text: str) -> Any:
    """
    Read a body's JSON the way a handler sees it.

    Raises:
        BadBody: it does not fit the model; one line for each place.
    """
    if model is None:
        return json.loads(text)
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise BadBody("\n".join(_line(details["loc"], details["msg"]) for details in found)) from error
    except Exception as error:  # a validator of the user's may raise anything
        raise BadBody(f"Body in {model.__module__} raised {type(error).__name__}") from error


def _line(place: tuple[int | str, ...], message: str) -> str:
    where = ".".join(["body", *map(str, place)])
    return f"{where}: {message.removeprefix('Value error, ').replace('Input should', 'should')}"
