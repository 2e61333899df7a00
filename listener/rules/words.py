"""
One ABI word of 32 bytes and the Python value it stands for, both ways.

Topics are single words, and so are most arguments in a log's data. Reading them here, by hand, is what keeps a decode
short: eth-abi alone takes more than twice as long for the same five arguments.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from eth_hash.auto import keccak
from hexbytes import HexBytes

Reader = Callable[[bytes], Any]

WORD = 32
_ADDRESS_PADDING = bytes(12)
_SIZED = re.compile(r"(uint|int|bytes)(\d+)")


@lru_cache(maxsize=4096)  # the same few addresses come again and again, and a checksum is a keccak
def checksummed(address: bytes) -> str:
    """Write 20 bytes as a checksummed address (EIP-55)."""
    digits = address.hex()
    marks = keccak(digits.encode()).hex()
    return "0x" + "".join(c.upper() if mark >= "8" else c for c, mark in zip(digits, marks, strict=False))


def integer_range(abi_type: str) -> range | None:
    """Give the values of ``uintN`` or ``intN``; None for any other type."""
    sized = _SIZED.fullmatch(abi_type)
    if sized is None or sized[1] == "bytes":
        return None
    bits = int(sized[2])
    return range(1 << bits) if sized[1] == "uint" else range(-(1 << (bits - 1)), 1 << (bits - 1))


def bytes_size(abi_type: str) -> int | None:
    """Give N of ``bytesN``; None for any other type."""
    sized = _SIZED.fullmatch("bytes24" if abi_type == "function" else abi_type)
    return int(sized[2]) if sized is not None and sized[1] == "bytes" else None


def reader(abi_type: str) -> Reader | None:
    """
    Give the function that reads one word of this type; None where the type is not a single word.

    The function raises ValueError on a word that no encoder writes, such as 2 for a bool.
    """
    if abi_type == "address":
        return _address
    if abi_type == "bool":
        return _bool
    if (values := integer_range(abi_type)) is not None:
        return _integer(values)
    if (size := bytes_size(abi_type)) is not None:
        return _fixed_bytes(size)
    return None


def word(abi_type: str, value: Any) -> bytes:
    """Write one value as its word, the way it stands in a topic."""
    if abi_type == "address":
        return bytes.fromhex(value[2:]).rjust(WORD, b"\0")
    if isinstance(value, int):  # bool too
        return (value % (1 << 256)).to_bytes(WORD, "big")
    return bytes(value).ljust(WORD, b"\0")


def _address(data: bytes) -> str:
    if data[:12] != _ADDRESS_PADDING:
        raise ValueError("an address has dirty upper bytes")
    return checksummed(data[12:])


def _bool(data: bytes) -> bool:
    value = int.from_bytes(data, "big")
    if value > 1:
        raise ValueError(f"a bool is {value}")
    return value == 1


def _integer(values: range) -> Reader:
    signed = values.start < 0
    if values.stop - values.start == 1 << 256:
        return lambda data: int.from_bytes(data, "big", signed=signed)

    def read(data: bytes) -> int:
        value = int.from_bytes(data, "big", signed=signed)
        if value not in values:
            raise ValueError(f"{value} is outside {values.start}..{values.stop - 1}")
        return value

    return read


def _fixed_bytes(size: int) -> Reader:
    padding = bytes(WORD - size)

    def read(data: bytes) -> HexBytes:
        if data[size:] != padding:
            raise ValueError(f"bytes{size} has dirty lower bytes")
        return HexBytes(data[:size])

    return read
