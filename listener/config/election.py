"""A rule's ``election`` table: whose turn it is, so that one operator of several performs a task."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from listener.config.address import Address
from listener.rules.nearest import suggestion
from listener.rules.table import LARGEST, Table

_KNOWN = ("round_robin", "fixed", "custom")
_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def _function(value: str) -> str:
    if _FUNCTION.fullmatch(value) is None:
        raise ValueError(f'"{value}" names no function; write its module and its name, such as "tasks.turns:elect"')
    return value


def _at_least_one(operators: tuple[str, ...]) -> tuple[str, ...]:
    if not operators:
        raise ValueError("there is nobody to elect; write at least one operator's address")
    return operators


class RoundRobin(Table):
    """
    Elects ``operators[(block // span) % count]`` of the attestation contract's operators at the trigger's block.

    ``list = "ids"`` is the older examples' rule: the operator with the id ``(block // span) % count + 1``, registered
    still or not.
    """

    type: Literal["round_robin"] = "round_robin"
    span: int = Field(default=1, ge=1, le=LARGEST)  # blocks of one turn
    list: Literal["active", "ids"] = "active"


class Fixed(Table):
    """Elects ``operators[(block // span) % count]`` of the operators that stand here."""

    type: Literal["fixed"] = "fixed"
    span: int = Field(default=1, ge=1, le=LARGEST)  # blocks of one turn
    operators: Annotated[tuple[Address, ...], Field(strict=False), AfterValidator(_at_least_one)]


class Custom(Table):
    """Elects whom ``async def elect(ctx) -> str`` names."""

    type: Literal["custom"] = "custom"
    function: Annotated[str, AfterValidator(_function)]  # "module:name"


def _known_type(table: Any) -> Any:
    """Name a missing or unknown type in our own words; pydantic's speak of tags and discriminators."""
    if not isinstance(table, Mapping):
        return table
    kind = table.get("type")
    if kind is None:
        raise ValueError(f"type is missing; known: {', '.join(_KNOWN)}")
    if kind not in _KNOWN:
        raise ValueError(f'unknown type "{kind}"{suggestion(str(kind), _KNOWN)}')
    return table


Election = Annotated[RoundRobin | Fixed | Custom, Field(discriminator="type"), BeforeValidator(_known_type)]
