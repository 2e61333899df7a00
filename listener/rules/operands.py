"""
The values that a ``where`` condition compares with, read by the type of the argument.

TOML has no integers of 256 bits that every editor keeps, no addresses and no bytes, so these may be written as text.
"""

import re
from collections.abc import Callable
from typing import Any

from eth_hash.auto import keccak

from listener.rules.arguments import Argument
from listener.rules.words import bytes_size, checksummed, integer_range

_DIGITS = re.compile(r"-?(0[xX][0-9a-fA-F]+|[0-9]+)")
_HEX = re.compile(r"0[xX]((?:[0-9a-fA-F]{2})*)")


def operand(argument: Argument, value: object) -> Any:
    """
    Read one value of a condition as the decoder would return it.

    Raises:
        ValueError: it is not a value of the argument's type; the message names the value and what is expected.
    """
    kind = argument.canonical
    if argument.is_compound:
        raise ValueError(f"{kind} is an array or a tuple, on which there are no conditions; let the task look at it")
    read = _READERS.get(kind) or _sized(kind)
    if read is None:
        raise ValueError(f"there are no conditions on {kind}; let the task look at it")
    found = read(value)
    if argument.is_hashed:  # all that the log holds of it
        return keccak(found.encode() if isinstance(found, str) else found)
    return found


def is_ordered(argument: Argument) -> bool:
    """Tell whether ``gt`` and its sisters have a meaning: for integers alone."""
    return integer_range(argument.canonical) is not None


def _sized(kind: str) -> Callable[[object], Any] | None:
    if (values := integer_range(kind)) is not None:
        return lambda value: _integer(value, kind, values)
    if (size := bytes_size(kind)) is not None:
        return lambda value: _bytes(value, kind, size)
    return None


def _integer(value: object, kind: str, values: range) -> int:
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        sign, digits = (-1, value[1:]) if value.startswith("-") else (1, value)
        number = sign * int(digits, 16 if digits[:2] in ("0x", "0X") else 10)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        raise ValueError(f'{_shown(value)} is not an integer for {kind}; write 10, "10" or "0x0a"')
    if number not in values:
        raise ValueError(f"{value} is outside {kind}: {values.start} to {values.stop - 1}")
    return number


def _address(value: object) -> str:
    digits = _HEX.fullmatch(value) if isinstance(value, str) else None
    if digits is None or len(digits[1]) != 40:
        raise ValueError(f"{_shown(value)} is not an address; write 0x and 40 hex digits")
    return checksummed(bytes.fromhex(digits[1]))  # whatever the case it was written in


def _bytes(value: object, kind: str, size: int | None = None) -> bytes:
    digits = _HEX.fullmatch(value) if isinstance(value, str) else None
    if digits is None:
        raise ValueError(f"{_shown(value)} is not {kind}; write 0x and an even number of hex digits")
    found = bytes.fromhex(digits[1])
    if size is not None and len(found) != size:
        raise ValueError(f"{_shown(value)} is {len(found)} bytes long, {kind} is {size}")
    return found


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{_shown(value)} is not a bool; write true or false")  # noqa: TRY004 -- a value, not a call
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_shown(value)} is not text for string; write it in quotes")  # noqa: TRY004 -- the same
    return value


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


_READERS: dict[str, Callable[[object], Any]] = {
    "address": _address,
    "bool": _bool,
    "bytes": lambda value: _bytes(value, "bytes"),
    "string": _text,
}
