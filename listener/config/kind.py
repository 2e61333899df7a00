"""Tables of several kinds, told apart by their key ``type``."""

from collections.abc import Mapping
from typing import Any

from pydantic import BeforeValidator

from listener.rules.nearest import suggestion


def of_type(*known: str) -> BeforeValidator:
    """Make what names a missing or unknown type in our own words; pydantic's speak of tags and discriminators."""

    def check(table: Any) -> Any:
        if not isinstance(table, Mapping):
            return table
        kind = table.get("type")
        if kind is None:
            raise ValueError(f"type is missing; known: {', '.join(known)}")
        if kind not in known:
            raise ValueError(f'unknown type "{kind}"{suggestion(str(kind), known)}')
        return table

    return BeforeValidator(check)
