"""A JSON object as a request holds it: nothing in it that two readers could understand differently."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson

NO_ALIASES: Mapping[str, str] = MappingProxyType({})
_SHOWN = 100  # characters of a name in a message


class BadJson(Exception):
    """What was sent is no JSON object, or one with two meanings; the text is for the one who sent it."""


def read(body: bytes, aliases: Mapping[str, str] = NO_ALIASES) -> dict[str, Any]:
    """
    Read an object strictly: UTF-8, each name once, no NaN, no lone surrogates, integers exact.

    Args:
        body: what was sent.
        aliases: other spellings of names, which count as the name itself.

    Raises:
        BadJson: it is none.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for given, value in pairs:
            name = aliases.get(given, given)
            if name in found:
                raise BadJson(f"{json.dumps(given)[:_SHOWN]} is there twice; which one is meant?")
            found[name] = value
        return found

    try:
        # The stricter of the two, but it takes the last of several equal names, and rounds large numbers.
        if not isinstance(orjson.loads(body), dict):
            raise BadJson("the body is not a JSON object")
        read_again: dict[str, Any] = json.loads(body, object_pairs_hook=once)
    except orjson.JSONDecodeError as error:
        raise BadJson(f"the body is not JSON: {error.msg} at {error.lineno}:{error.colno}") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, or thousands of brackets
        raise BadJson("the body is not JSON that is read here: too deep, or a number too long") from None
    return read_again
