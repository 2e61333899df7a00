"""Addresses as an operator writes them."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

from listener.rules.words import checksummed

_TEXT = re.compile(r"0[xX][0-9a-fA-F]{40}")


def _address(value: Any) -> str:
    """Give the checksummed form; mixed case must be right, for that is all that guards an address from a slip."""
    if not isinstance(value, str) or _TEXT.fullmatch(value) is None:
        shown = f'"{value}"' if isinstance(value, str) and len(value) <= 2 + 40 else "the value"
        raise ValueError(f"{shown} is not an address; write 0x and 40 hex digits in quotes")
    digits = value[2:]
    right = checksummed(bytes.fromhex(digits))
    if digits not in (digits.lower(), digits.upper(), right[2:]):
        raise ValueError(f"{value} has a wrong checksum; if its digits are right, it is {right}")
    return right


Address = Annotated[str, BeforeValidator(_address)]
