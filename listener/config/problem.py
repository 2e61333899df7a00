"""What pydantic found, as lines for an operator: the place, the value where it is no secret, and what is expected."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_SECRET_KEYS = frozenset({"key", "token", "secret", "url", "endpoints", "gateways", "env", "file"})
_SECRET_TEXT = re.compile(r"://|[0-9a-fA-F]{40}")  # a URL, or digits as long as an address or a key
_LONGEST_SHOWN = 60
_TYPES = frozenset({"block", "epoch", "event", "schedule", "http", "round_robin", "fixed", "custom"})

_EXPECTED = {
    "model_type": "a table",
    "mapping_type": "a table",
    "dict_type": "a table",
    "tuple_type": "a list",
    "string_type": "text in quotes",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
    "literal_error": "{expected}",
}

Place = tuple[int | str, ...]


def lines(error: ValidationError, document: Mapping[str, Any]) -> Iterator[str]:
    """
    Say each problem in one line.

    Args:
        error: from ``Config``.
        document: what was validated, for the names of rules and for values that may be shown.
    """
    for details in error.errors(include_url=False, include_context=True):
        place = _without_tags(details["loc"])
        if details["type"] == "missing":
            place = place[:-1]  # the table that lacks it
        for message in _messages(details, place):
            where = _written(place, document)
            yield f"{where}: {message}" if where else message


def _messages(details: ErrorDetails, place: Place) -> Sequence[str]:
    context = details.get("ctx", {})
    if details["type"] == "value_error":  # our own words; one table may hold several unknown keys
        return str(context["error"]).splitlines()
    if details["type"] == "missing":
        return [f"{details['loc'][-1]} is missing"]
    expected = _EXPECTED.get(details["type"], "").format_map(context)
    message = f"should be {expected}" if expected else details["msg"].replace("Input should", "should")
    return [f"{_shown(details['input'], place)} {message}"]


def _shown(value: object, place: Place) -> str:
    """Give the value as TOML writes it, unless it is long, a table, or may be a secret."""
    if _SECRET_KEYS.intersection(place):
        return "the value"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float | str) and len(str(value)) <= _LONGEST_SHOWN:
        text = f'"{value}"' if isinstance(value, str) else str(value)
        return "the value" if _SECRET_TEXT.search(text) else text
    return "the list" if isinstance(value, list | tuple) else "the table" if isinstance(value, Mapping) else "the value"


def _without_tags(place: Place) -> Place:
    """Leave out what is not in the document: the kind by which pydantic chose a model."""
    return tuple(
        part for before, part in zip((None, *place), place, strict=False)
        if not (before in ("trigger", "election") and part in _TYPES)
    )  # fmt: skip


def _written(place: Place, document: Mapping[str, Any]) -> str:
    """Write ``("rules", 0, "trigger")`` as ``rule intents: trigger``, and ``("chains", "l2")`` as ``chains.l2``."""
    if len(place) > 1 and place[0] == "rules" and isinstance(place[1], int):
        rest = _dotted(place[2:])
        rule = f"rule {_rule_name(place[1], document)}"
        return f"{rule}: {rest}" if rest else rule
    return _dotted(place)


def _dotted(place: Place) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def _rule_name(position: int, document: Mapping[str, Any]) -> str:
    rule = document["rules"][position]
    name = rule.get("name") if isinstance(rule, Mapping) else None
    fits = isinstance(name, str) and name.isprintable() and 0 < len(name) <= _LONGEST_SHOWN
    return str(name) if fits else f"number {position + 1}"
