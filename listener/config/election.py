"""A rule's ``election`` table: whose turn it is, so that one operator of several performs a task."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from listener.config.address import Address
from listener.config.kind import of_type
from listener.rules.table import LARGEST, Table

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


Election = Annotated[
    RoundRobin | Fixed | Custom,
    Field(discriminator="type"),
    of_type("round_robin", "fixed", "custom"),
]
