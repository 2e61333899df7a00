"""What all tables of ``config.toml`` have in common: frozen, strict, and no key that nobody knows."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

from listener.rules.nearest import suggestion

LARGEST = 2**63 - 1  # what the journal can keep; no chain will ever get there


class Table(BaseModel):
    """
    A table that is itself the value we work with.

    Strict, because a number in quotes or a ``true`` where a number stands is a slip of the pen, not a number.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True, validate_default=True
    )
    not_yet: ClassVar[frozenset[str]] = frozenset()  # keys of the documented surface that no part builds yet
    given: ClassVar[frozenset[str]] = frozenset()  # fields that stand in the header, not in the table

    @model_validator(mode="before")
    @classmethod
    def _know_keys(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        known = (cls.model_fields.keys() | cls.not_yet) - cls.given
        lines = [f"{key}: not available yet" for key in data if key in cls.not_yet]
        lines += [f'unknown key "{key}"{suggestion(key, known)}' for key in data if key not in known | cls.given]
        if lines:
            raise ValueError("\n".join(lines))
        return data
