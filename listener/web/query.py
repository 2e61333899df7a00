"""
What a request asks, as pydantic models: they check it, and the OpenAPI document is made from them.

A value that does not fit is named in one line, with what is expected.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from aiohttp import hdrs, web
from multidict import MultiMapping
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from listener import json_object
from listener.web.envelope import Refused

M = TypeVar("M", bound=BaseModel)

LARGEST = 2**63 - 1  # what the journal can keep
_TYPES = frozenset({"application/json", "application/x-www-form-urlencoded"})  # the second is what curl -d says


class Question(BaseModel):
    """What all models of a request have in common: an unknown name is a slip."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        defer_build=True,  # until it is first asked for: a daemon that nobody asks should not pay for it
    )


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Moment = Annotated[datetime, AfterValidator(_aware)]  # RFC 3339; without a zone it is UTC


def micros(moment: datetime | None) -> int | None:
    """Return a moment as the journal keeps it: microseconds since the epoch."""
    return None if moment is None else int(moment.timestamp() * 1_000_000)


def asked(model: type[M], given: MultiMapping[str]) -> M:
    """
    Read the query of a request.

    Raises:
        Refused: a name is unknown or repeated, or a value does not fit.
    """
    found: dict[str, Any] = {}
    for name in set(given):
        values = given.getall(name)
        field = model.model_fields.get(name)
        if field is not None and field.json_schema_extra == MANY:
            found[name] = values
        elif len(values) > 1:
            raise Refused(400, f"{name}: given {len(values)} times; once is enough")
        else:
            found[name] = values[0]
    return checked(model, found)


MANY: dict[str, Any] = {"x-repeated": True}  # of a field that may be given several times


def checked(model: type[M], given: Mapping[str, Any]) -> M:
    """
    Make the model of what was given.

    Raises:
        Refused: it does not fit.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise Refused(400, "; ".join(lines(error))) from None


def lines(error: ValidationError) -> Sequence[str]:
    """Say each thing that does not fit, without what was given: it may be long, and it may be a secret."""
    return [
        f"{'.'.join(str(part) for part in each['loc']) or 'the body'}: {each['msg'][:1].lower()}{each['msg'][1:]}"
        for each in error.errors(include_url=False, include_input=False, include_context=False)
    ]


async def read_object(request: web.Request) -> dict[str, Any]:
    """
    Read a body that is a JSON object.

    Raises:
        Refused: it is none, or one that two readers could understand differently.
    """
    if hdrs.CONTENT_TYPE in request.headers and request.content_type not in _TYPES:
        raise Refused(415, f"{request.content_type} is not read here; send application/json")
    try:
        return json_object.read(await request.read())
    except json_object.BadJson as error:
        raise Refused(400, str(error)) from None
