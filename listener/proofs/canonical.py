"""
Canonical JSON: one text for one value, so that the same proof has the same bytes, and so the same CID, everywhere.

Keys sorted by code point, no spaces, UTF-8 without escapes but those that JSON demands, integers exact at any size. No
floats: two languages write one number differently. It is RFC 8785 but for large integers and for keys beyond U+FFFF.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from listener.errors import ProofError, ProofRejected

MAX_DEPTH = 64  # lists and objects inside each other; no proof needs more, and readers recurse
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)  # possessive, so that no text makes it slow
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_SHOWN = 60  # characters of a key in a message


def encode(value: Any) -> bytes:
    """
    Write a value: objects with text for keys, lists, tuples, text, ``int``, ``bool`` and None.

    Raises:
        ProofError: something else is in it; the message says where.
    """
    plain = _plain(value, "the proof", 0)
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ProofError(f"the proof holds text that UTF-8 cannot write: {error.reason}") from None


def decode(content: bytes) -> Any:
    """
    Read JSON that others may have written: any order of keys and any spaces, but nothing that two readers could
    understand differently.

    Raises:
        ProofRejected: it is no such JSON.
    """
    try:
        text = content.decode()
        _check_brackets(content)
        value = json.loads(text, object_pairs_hook=_once, parse_float=_no_float, parse_constant=_no_float)
    except UnicodeDecodeError as error:
        raise ProofRejected(f"the proof is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise ProofRejected(f"the proof is not JSON: {error.msg} at {error.lineno}:{error.colno}") from None
    except ValueError:  # Python reads no integer of thousands of digits
        raise ProofRejected("the proof holds a number of thousands of digits") from None
    _check_depth(value)
    if "\\u" in text:  # else there can be none
        _check_surrogates(value)
    return value


def is_canonical(content: bytes, value: Any) -> bool:
    """Tell whether ``content``, which ``decode`` read as ``value``, is how ``encode`` writes it."""
    try:
        return encode(value) == content
    except ProofError:
        return False


def _plain(value: Any, place: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ProofError(f"the proof is nested deeper than {MAX_DEPTH}; make it flatter")
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ProofError(f"{place} has the key {key!r:.{_SHOWN}}, which is no text; write str(…) for it")
        return {str(key): _plain(item, f"{place}.{key:.{_SHOWN}}", depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{place}[{number}]", depth + 1) for number, item in enumerate(value)]
    if isinstance(value, bytes | bytearray):
        raise ProofError(f'{place} is bytes, which JSON has not; write "0x" + value.hex()')
    if isinstance(value, float):
        raise ProofError(f"{place} is a float, which is not exact; write an int, or a Decimal as text")
    raise ProofError(f"{place} is {type(value).__name__}, which JSON has not; write text or an int")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for name in found if sum(name == other for other, _ in pairs) > 1)
        raise ProofRejected(f"the proof has the key {twice!r:.{_SHOWN}} twice")
    return found


def _no_float(text: str) -> Any:
    raise ProofRejected(f"the proof holds {text:.30}, which is no exact number")


def _check_brackets(content: bytes) -> None:
    """
    Refuse a depth that the parser must not be given: it recurses in C, and where a library has raised the interpreter's
    limit (py_ecc does) thousands of brackets are the end of the process.
    """
    brackets = _STRING.sub(b"", content).translate(None, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):  # each time the innermost pairs go
        left = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(left) == len(brackets):
            break
        brackets = left
    if len(brackets) > MAX_DEPTH:
        raise ProofRejected(f"the proof is nested deeper than {MAX_DEPTH}")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [item for each in level for item in _inside(each)]
        if not level:
            return
    raise ProofRejected(f"the proof is nested deeper than {MAX_DEPTH}")


def _check_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ProofRejected("the proof holds half a surrogate pair, which UTF-8 cannot write") from None


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value
