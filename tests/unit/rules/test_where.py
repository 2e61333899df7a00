"""Conditions: typed from the ABI, exact at 256 bits, and never wider than what they say."""

import operator
from collections.abc import Callable
from typing import Any

import pytest
from eth_utils import keccak
from hypothesis import given
from hypothesis import strategies as st
from sample_logs import MOVED, SOMEONE, moved

from listener.errors import ConfigError
from listener.model import Log
from listener.rules.filter import event_filter
from listener.rules.where import conditions

uint256 = st.integers(0, 2**256 - 1)
ORDERS = {
    "eq": operator.eq, "ne": operator.ne, "gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le,
}  # fmt: skip


def taken(where: dict[str, Any], log: Log) -> bool:
    return event_filter(log.address, MOVED, conditions(where, MOVED)).matches(log)


@given(uint256, uint256, st.sampled_from(sorted(ORDERS)), st.sampled_from([int, str, hex]))
def test_integers_compare_exactly_at_256_bits(
    amount: int, bound: int, comparison: str, write: Callable[[int], Any]
) -> None:
    where = {"amount": {comparison: write(bound)}}
    assert taken(where, moved(amount=amount)) == ORDERS[comparison](amount, bound)


@given(uint256, st.integers(-2, 2))
def test_neighbours_that_a_float_could_not_tell_apart_are_told_apart(amount: int, step: int) -> None:
    other = min(max(amount + step, 0), 2**256 - 1)
    assert taken({"amount": str(amount)}, moved(amount=other)) == (amount == other)


@given(st.integers(-(2**127), 2**127 - 1), st.integers(-(2**127), 2**127 - 1), st.sampled_from([str, hex]))
def test_signed_integers_compare_with_their_sign(change: int, bound: int, write: Callable[[int], Any]) -> None:
    assert taken({"change": {"lt": write(bound)}}, moved(change=change)) == (change < bound)


@pytest.mark.parametrize("written", [SOMEONE, SOMEONE.lower(), "0x" + SOMEONE[2:].upper(), SOMEONE.swapcase()[2:]])
def test_addresses_compare_whatever_their_case(written: str) -> None:
    written = written if written[:2].lower() == "0x" else f"0x{written}"
    assert taken({"from": written}, moved())
    assert not taken({"from": written}, moved(sender="0x" + "11" * 20))


@pytest.mark.parametrize(
    ("where", "log", "expected"),
    [
        ({"done": True}, moved(done=True), True),
        ({"done": True}, moved(done=False), False),
        ({"done": {"ne": True}}, moved(done=False), True),
        ({"tag": "0x74616721"}, moved(tag=b"tag!"), True),
        ({"tag": "0X74616720"}, moved(tag=b"tag!"), False),
        ({"note": "hello"}, moved(note="hello"), True),
        ({"note": {"in": ["a", "b"]}}, moved(note="b"), True),
        ({"note": {"in": ["a", "b"]}}, moved(note="c"), False),
        ({"9": "0x"}, moved(), True),
        ({"9": "0x00"}, moved(), False),
        ({"amount": {"gte": 3, "lt": 5}}, moved(amount=4), True),
        ({"amount": {"gte": 3, "lt": 5}}, moved(amount=5), False),
        ({"amount": 1, "done": True}, moved(amount=1, done=False), False),
        ({"small": 1}, moved(small=1), True),
        ({"small": 1}, moved(small=2), False),
        ({"small": {"ne": 1}}, moved(small=1), False),
        ({"small": {"gt": 1}}, moved(small=2), True),
        ({"small": {"in": [1, "0x2"]}}, moved(small=2), True),
        ({"small": {"in": [1, "0x2"]}}, moved(small=3), False),
        ({"label": "gold"}, moved(label="gold"), True),
        ({"label": "gold"}, moved(label="lead"), False),
        ({"label": {"ne": "gold"}}, moved(label="lead"), True),
        ({}, moved(), True),
    ],
)
def test_a_log_is_taken_where_its_conditions_hold(where: dict[str, Any], log: Log, expected: bool) -> None:  # noqa: FBT001 -- a case, not a switch
    assert taken(where, log) is expected


def test_equality_on_indexed_arguments_is_left_to_the_endpoint() -> None:
    where = {"label": "gold", "small": {"in": [2, 1]}, "amount": 5}
    made = event_filter("0xAb", MOVED, conditions(where, MOVED))
    assert made.topics == ((MOVED.topic0,), None, (keccak(text="gold"),), (_word(1), _word(2)))
    assert [condition.argument for condition in made.conditions] == ["amount"]


def test_eq_and_in_on_one_argument_leave_what_both_allow() -> None:
    made = event_filter("0xab", MOVED, conditions({"small": {"eq": 2, "in": [1, 2]}}, MOVED))
    assert made.topics[3] == (_word(2),)


def test_other_comparisons_of_indexed_arguments_stay_here() -> None:
    made = event_filter("0xab", MOVED, conditions({"small": {"gt": 2}}, MOVED))
    assert made.topics == ((MOVED.topic0,),)
    assert [condition.comparison for condition in made.conditions] == ["gt"]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"small": -1}, "where.small: -1 is outside uint8: 0 to 255"),
        ({"change": str(2**127)}, f"where.change: {2**127} is outside int128: {-(2**127)} to {2**127 - 1}"),
        ({"amount": "1e18"}, 'where.amount: "1e18" is not an integer for uint256; write 10, "10" or "0x0a"'),
        ({"amount": {}}, "where.amount: an empty table compares nothing; known: eq, ne, gt, gte, lt, lte, in"),
        ({"amount": {"in": 1}}, "where.amount.in: write a list of one value or more"),
        ({"done": 1}, "where.done: 1 is not a bool; write true or false"),
        ({"note": 1}, "where.note: 1 is not text for string; write it in quotes"),
        ({"note": {"gt": "a"}}, "where.note.gt: string has no order; use eq, ne or in"),
        ({"tag": "0x123"}, 'where.tag: "0x123" is not bytes4; write 0x and an even number of hex digits'),
    ],
)
def test_a_condition_that_the_type_cannot_have_is_refused(where: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        conditions(where, MOVED)
    assert str(caught.value) == message


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")
