import contextlib
import json
from types import MappingProxyType
from typing import Any

import pytest
from hexbytes import HexBytes
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import ProofError, ProofRejected
from listener.proofs.canonical import MAX_DEPTH, decode, encode, is_canonical

text = st.text(st.characters(codec="utf-8"), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_what_is_written_is_read_as_it_was_and_is_written_the_same_again(value: Any) -> None:
    content = encode(value)
    assert decode(content) == value
    assert is_canonical(content, value)
    assert json.loads(content) == value  # so that others read it too


def test_keys_are_sorted_by_code_point_and_nothing_is_spaced_or_escaped() -> None:
    value = {"ü": 1, "b": [True, None, (2**300, -1)], "a": {"z": '\n"\\\x01/€😀', "B": ""}, "😀": 2, "\uffee": 3}
    large = str(2**300)
    assert encode(value).decode() == (
        '{"a":{"B":"","z":"\\n\\"\\\\\\u0001/€😀"},"b":[true,null,[' + large + ',-1]],"ü":1,"\uffee":3,"😀":2}'
    )


def test_an_events_arguments_are_written_as_they_are() -> None:
    assert encode(MappingProxyType({"a": (1, "0x")})) == b'{"a":[1,"0x"]}'


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"a": {"price": 1.5}}, r"the proof\.a\.price is a float"),
        ([1, float("nan")], r"the proof\[1\] is a float"),
        ({"hash": HexBytes("0x01")}, r'the proof\.hash is bytes.*"0x" \+'),
        ({1: "a"}, "the key 1, which is no text"),
        ({"a": {1}}, r"the proof\.a is set"),
        ("\ud800", "UTF-8 cannot write"),
        ({"\ud800": 1}, "UTF-8 cannot write"),
    ],
)
def test_what_json_cannot_say_exactly_is_refused_with_its_place(value: Any, why: str) -> None:
    with pytest.raises(ProofError, match=why):
        encode(value)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_rejected(content: bytes) -> None:
    with contextlib.suppress(ProofRejected):
        decode(content)


@given(st.text('[]{}"\\:,1a', max_size=60))
def test_any_text_that_looks_like_json_is_read_or_rejected(content: str) -> None:
    try:
        value = decode(content.encode())
    except ProofRejected:
        return
    assert decode(encode(value)) == value


def test_brackets_in_text_are_no_depth() -> None:
    assert decode(encode({"a": "[" * 1000 + '\\"' + "{" * 1000})) == {"a": "[" * 1000 + '\\"' + "{" * 1000}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_depth_is_limited_on_both_sides() -> None:
    assert decode(encode(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    with pytest.raises(ProofError, match="deeper than 64"):
        encode(nested(MAX_DEPTH + 1))
    for depth in (MAX_DEPTH + 1, 500, 200_000):
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            with pytest.raises(ProofRejected, match="deeper than 64"):
                decode((opening * depth + "1" + closing * depth).encode())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b'{"a":1}{"a":1}', "not JSON"),
        (b'{"a":1,"a":2}', "the key 'a' twice"),
        (b'{"a":1.0}', "holds 1.0"),
        (b'{"a":1e3}', "holds 1e3"),
        (b"[NaN]", "holds NaN"),
        (b"[-Infinity]", "holds -Infinity"),
        (b"[" + b"9" * 5000 + b"]", "thousands of digits"),
        (b'"\\ud800"', "UTF-8"),
        (b'{"\\udfff":1}', "UTF-8"),
    ],
)
def test_what_two_readers_could_understand_differently_is_rejected(content: bytes, why: str) -> None:
    with pytest.raises(ProofRejected, match=why):
        decode(content)


def test_what_others_wrote_may_be_ordered_and_spaced_as_they_like() -> None:
    content = b'{"symbol": "ETHUSDT",\n "price": "3000.12"}'
    assert decode(content) == {"price": "3000.12", "symbol": "ETHUSDT"}
    assert not is_canonical(content, decode(content))
