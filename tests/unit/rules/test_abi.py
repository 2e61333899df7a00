"""Events of an ABI: looking them up, and decoding their logs as web3.py and eth-abi do."""

import contextlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import eth_abi
import pytest
from hexbytes import HexBytes
from hypothesis import given
from hypothesis import strategies as st
from sample_logs import INTENT_SENT, MOVED, NESTED, SAMPLES, SOMEONE, log, moved
from web3 import Web3
from web3._utils.events import get_event_data

from listener.errors import ConfigError
from listener.rules.abi import UndecodableLog, find_event

uint256 = st.integers(0, 2**256 - 1)
int128 = st.integers(-(2**127), 2**127 - 1)
address = st.binary(min_size=20, max_size=20).map(Web3.to_checksum_address)
text = st.text(st.characters(exclude_categories=["Cs"]))
DATA_TYPES = ["uint256", "int128", "bool", "bytes4", "string", "address[]", "bytes"]


def test_the_first_topic_is_the_hash_of_the_signature() -> None:
    assert INTENT_SENT.topic0.hex() == "e958c941243c8e6ac6a3a242267ebc93ad08ee79df207df8a529968904692e9e"
    assert NESTED.signature == "Nested((address,bytes32[],(int256))[2],uint16[3],uint256)"


@given(address, st.integers(0, 255), uint256, int128, st.booleans(), st.binary(min_size=4, max_size=4), text,
       st.lists(address), st.binary())  # fmt: skip
def test_a_decoded_log_holds_what_was_encoded(  # noqa: PLR0917 -- one for each argument
    sender: str,
    small: int,
    amount: int,
    change: int,
    done: bool,  # noqa: FBT001 -- a value, not a switch
    tag: bytes,
    note: str,
    route: list[str],
    rest: bytes,
) -> None:
    topics = [MOVED.topic0, eth_abi.encode(["address"], [sender]), b"h" * 32, eth_abi.encode(["uint8"], [small])]
    data = eth_abi.encode(DATA_TYPES, [amount, change, done, tag, note, route, rest])
    args = MOVED.decode(log(topics, data))
    assert dict(args) == {
        "from": sender,
        "label": HexBytes(b"h" * 32),
        "small": small,
        "amount": amount,
        "change": change,
        "done": done,
        "tag": HexBytes(tag),
        "note": note,
        "route": tuple(route),
        "9": HexBytes(rest),
    }
    assert all(isinstance(args[name], HexBytes) for name in ("label", "tag", "9"))


@given(address, st.lists(st.binary(min_size=32, max_size=32)), st.integers(-(2**255), 2**255 - 1), uint256)
def test_tuples_become_mappings_and_arrays_tuples(owner: str, words: list[bytes], wei: int, last: int) -> None:
    order = (owner, words, (wei,))
    types = ["(address,bytes32[],(int256))[2]", "uint16[3]", "uint256"]
    args = NESTED.decode(log([NESTED.topic0], eth_abi.encode(types, [[order, order], [1, 2, 3], last])))
    expected = {"owner": owner, "1": tuple(map(HexBytes, words)), "price": {"wei": wei}}
    assert [dict(one) for one in args["order"]] == [expected, expected]
    assert args["fixed"] == (1, 2, 3)
    assert args["last"] == last


@given(uint256, uint256, uint256, address, st.binary())
def test_an_intent_reads_as_web3_reads_it(number: int, relayer: int, chain_id: int, to: str, data: bytes) -> None:
    types = ["uint256", "uint256", "uint256", "address", "bytes"]
    found = log([INTENT_SENT.topic0], eth_abi.encode(types, [number, relayer, chain_id, to, data]))
    inputs = [
        {"name": name, "type": argument.type, "indexed": False} for name, argument in INTENT_SENT.arguments.items()
    ]
    abi = {"type": "event", "name": "IntentSent", "anonymous": False, "inputs": inputs}
    entry = {
        "address": SOMEONE, "topics": [HexBytes(topic) for topic in found.topics], "data": HexBytes(found.data),
        "blockNumber": 1, "blockHash": HexBytes(bytes(32)), "transactionHash": HexBytes(bytes(32)),
        "transactionIndex": 0, "logIndex": 0,
    }  # fmt: skip
    assert dict(INTENT_SENT.decode(found)) == dict(get_event_data(Web3().codec, abi, entry)["args"])


def test_arguments_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        INTENT_SENT.decode(log([INTENT_SENT.topic0], bytes(128) + (160).to_bytes(32, "big") + bytes(32)))["block"] = 1


@given(st.binary(max_size=400))
def test_data_that_is_no_event_is_undecodable_or_decodes_but_never_ends_otherwise(data: bytes) -> None:
    for event in (INTENT_SENT, NESTED):
        with contextlib.suppress(UndecodableLog):
            event.decode(log([event.topic0], data))


@pytest.mark.parametrize(
    ("topics", "data", "reason"),
    [
        ([MOVED.topic0], b"", "4 topics in the ABI, the log 1"),
        ([MOVED.topic0] * 4, bytes(10), "has 224 bytes or more, the log 10"),
        ([MOVED.topic0, b"\xff" * 32, bytes(32), bytes(32)], bytes(500), "dirty upper bytes"),
        ([MOVED.topic0, bytes(32), bytes(32), b"\xff" * 32], bytes(500), "outside 0..255"),
    ],
)
def test_a_log_that_is_not_what_the_abi_says_is_refused(topics: Sequence[bytes], data: bytes, reason: str) -> None:
    with pytest.raises(UndecodableLog, match=reason):
        MOVED.decode(log(topics, data))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({2: 2}, "a bool is 2"),
        ({4: 2**255}, "a pointer leads outside"),
        ({4: 500}, "a pointer leads outside"),
        ({7: 10**6}, "ends outside the data"),
        ({3: 1}, "dirty lower bytes"),
    ],
)
def test_a_bad_word_in_the_data_is_named(words: dict[int, int], reason: str) -> None:
    good = moved(note="hello")
    data = bytearray(good.data)
    for position, value in words.items():
        data[position * 32 : position * 32 + 32] = value.to_bytes(32, "big")
    with pytest.raises(UndecodableLog, match=reason):
        MOVED.decode(log(good.topics, bytes(data)))


def test_text_that_is_not_utf_8_is_undecodable() -> None:
    good = moved(note="hello")
    with pytest.raises(UndecodableLog, match="utf-8"):
        MOVED.decode(log(good.topics, good.data.replace(b"hello", b"hel\xfflo"[:5])))


def test_bytes_without_padding_are_read_as_solidity_reads_them() -> None:
    types = ["uint256", "uint256", "uint256", "address", "bytes"]
    data = eth_abi.encode(types, [1, 2, 3, SOMEONE, b"abc"])
    assert INTENT_SENT.decode(log([INTENT_SENT.topic0], data[:-29]))["_data"] == b"abc"


def test_an_overloaded_event_is_chosen_by_its_signature() -> None:
    assert find_event(SAMPLES, "Twice( address )", source="x").signature == "Twice(address)"


@pytest.mark.parametrize(
    ("entries", "wanted", "message"),
    [
        ([], "Moved", "no event Moved in x.json; there is none"),
        ([{"type": "event"}], "Moved", "x.json is not an ABI: an event's name: Field required"),
        (
            [{"type": "event", "name": "E", "inputs": [{"name": "a", "type": "uint8"}] * 2}],
            "E",
            "event E in x.json has two arguments of one name",
        ),
        (
            [{"type": "event", "name": "E", "inputs": [{"name": "a", "type": "(bool)"}]}],
            "E",
            'event E in x.json: argument a: "(bool)" is not an ABI type; write "tuple", with its parts as components',
        ),
        (SAMPLES, "Twice(uint)", "no event Twice(uint) in x.json; did you mean Twice(uint256)?"),
    ],
)
def test_an_abi_that_cannot_be_used_says_why(entries: list[dict[str, Any]], wanted: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_event(entries, wanted, source="x.json")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("abi_type", "value", "expected"),
    [
        ("function", b"f" * 24, HexBytes(b"f" * 24)),
        ("function[2]", [b"f" * 24, b"g" * 24], (HexBytes(b"f" * 24), HexBytes(b"g" * 24))),
        ("fixed128x18", Decimal("1.5"), Decimal("1.5")),
        ("uint", 3, 3),
        ("int24[2][]", [[1, -1], [2, -2]], ((1, -1), (2, -2))),
        ("string[2]", ["a", ""], ("a", "")),
        ("bool[3]", [True, False, True], (True, False, True)),
    ],
)
def test_every_type_of_the_abi_is_read_in_its_place(abi_type: str, value: Any, expected: Any) -> None:
    entry = {"type": "event", "name": "E", "inputs": [{"name": "a", "type": abi_type}, {"name": "b", "type": "uint8"}]}
    event = find_event([entry], "E", source="x.json")
    assert dict(event.decode(log([event.topic0], eth_abi.encode([abi_type, "uint8"], [value, 7])))) == {
        "a": expected,
        "b": 7,
    }


def test_a_function_is_called_so_in_a_signature() -> None:
    entry = {"type": "event", "name": "E", "inputs": [{"type": "function"}, {"type": "uint"}, {"type": "int[]"}]}
    assert find_event([entry], "E", source="x.json").signature == "E(function,uint256,int256[])"


@pytest.mark.parametrize("abi_type", ["uint8[2]", "bytes", "tuple"])
def test_an_indexed_value_longer_than_a_word_is_its_hash(abi_type: str) -> None:
    inputs = [{"name": "a", "type": abi_type, "indexed": True, "components": [{"type": "uint8"}]}]
    event = find_event([{"type": "event", "name": "E", "inputs": inputs}], "E", source="x.json")
    assert event.decode(log([event.topic0, b"h" * 32], b""))["a"] == HexBytes(b"h" * 32)
