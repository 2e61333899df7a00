"""What nodes say is checked once, here: right values in, and everything else the node's fault."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.chains.wire import LogQuery, RpcError, as_block, as_logs, quantity
from listener.errors import ChainUnavailable
from listener.model import Block, Log

HASH = "0x" + "11" * 32
HEADER: dict[str, Any] = {
    "number": "0x1b4",
    "hash": HASH,
    "parentHash": "0x" + "22" * 32,
    "timestamp": "0x65f1a5b3",
    "logsBloom": "0x" + "00" * 255 + "01",
    "gasUsed": "0x5208",
    "miner": "0x" + "00" * 20,
}
LOG: dict[str, Any] = {
    "address": "0x5FbDB2315678afecb367f032d93F642f64180aa3",
    "topics": [HASH],
    "data": "0x00ff",
    "blockNumber": "0x1b4",
    "blockHash": HASH,
    "transactionHash": "0x" + "33" * 32,
    "logIndex": "0x2",
    "removed": False,
}


def test_a_header_is_read_as_it_is() -> None:
    assert as_block(HEADER) == Block(
        number=436, hash=b"\x11" * 32, parent_hash=b"\x22" * 32, timestamp=0x65F1A5B3, bloom=1, gas_used=21000
    )


@pytest.mark.parametrize("bloom", [None, ""])
def test_a_header_without_a_bloom_excuses_nothing(bloom: str | None) -> None:
    """A bloom of zero on a block that used gas is not believed, and gas that is not told was used."""
    bare = {name: value for name, value in HEADER.items() if name not in ("logsBloom", "gasUsed")}
    block = as_block(bare | ({} if bloom is None else {"logsBloom": bloom}))
    assert block.bloom == 0
    assert block.gas_used > 0


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        [],
        "0x",
        7,
        {**HEADER, "number": None},
        {**HEADER, "number": 436},
        {**HEADER, "number": "436x"},
        {**HEADER, "hash": "0x1234"},
        {**HEADER, "hash": None},
        {**HEADER, "hash": HASH + "00"},
        {**HEADER, "parentHash": "0x" + "zz" * 32},
        {**HEADER, "timestamp": {}},
        {**HEADER, "logsBloom": "0xzz"},
        {**HEADER, "gasUsed": [1]},
        {name: value for name, value in HEADER.items() if name != "hash"},
        {name: value for name, value in HEADER.items() if name != "parentHash"},
        {**HEADER, "extraData": "x" * 100_000, "hash": None},
    ],
)
def test_what_is_no_header_is_the_nodes_fault(answer: Any) -> None:
    with pytest.raises(ChainUnavailable, match="not a block header") as raised:
        as_block(answer)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("field", ["number", "timestamp"])
def test_a_number_that_no_chain_will_ever_reach_is_the_nodes_fault(field: str) -> None:
    with pytest.raises(ChainUnavailable):
        as_block({**HEADER, field: "0x" + "ff" * 9})


def test_a_log_is_read_as_it_is() -> None:
    (log,) = as_logs([LOG])
    assert log == Log(
        address="0x5fbdb2315678afecb367f032d93f642f64180aa3",
        topics=(b"\x11" * 32,),
        data=b"\x00\xff",
        block_number=436,
        block_hash=b"\x11" * 32,
        transaction_hash=b"\x33" * 32,
        index=2,
    )


def test_removed_logs_are_left_out() -> None:
    assert as_logs([{**LOG, "removed": True}]) == []


def at(number: int, index: int) -> dict[str, Any]:
    return {**LOG, "blockNumber": quantity(number), "logIndex": quantity(index)}


def test_logs_are_put_in_chain_order_each_once() -> None:
    logs = as_logs([at(16, 1), at(2, 9), at(2, 10), at(16, 1), at(2, 0), at(2, 9)])
    assert [(log.block_number, log.index) for log in logs] == [(2, 0), (2, 9), (2, 10), (16, 1)]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        7,
        {"logs": []},
        [None],
        ["0x"],
        [{**LOG, "address": None}],
        [{**LOG, "topics": None}],
        [{**LOG, "topics": ["0x1"]}],
        [{**LOG, "data": None}],
        [{**LOG, "data": "0x1"}],
        [{**LOG, "blockHash": None}],
        [{**LOG, "logIndex": None}],
        [LOG, {**LOG, "transactionHash": "0x12"}],
        [{name: value for name, value in LOG.items() if name != "blockNumber"}],
    ],
)
def test_what_is_no_list_of_logs_is_the_nodes_fault(answer: Any) -> None:
    with pytest.raises(ChainUnavailable, match="not a list of logs"):
        as_logs(answer)


@given(st.integers(0, 2**256))
def test_a_quantity_has_no_leading_zero(number: int) -> None:
    written = quantity(number)
    assert int(written, 16) == number
    assert written == "0x0" or written[2] != "0"


def test_an_error_names_endpoint_method_code_and_text() -> None:
    error = RpcError("ws://node", "eth_call", -32000, "boom")
    assert str(error) == "ws://node: eth_call: error -32000: boom"
    assert error.code == -32000
    assert isinstance(error, ChainUnavailable)


# One question for all rules

A, B = b"a" * 32, b"b" * 32


def test_without_event_rules_there_is_no_question() -> None:
    assert LogQuery.union([]) is None


def test_one_rule_is_asked_for_as_it_is() -> None:
    query = LogQuery.union([("0xaa", ((A,), None, (B,)))])
    assert query is not None
    assert query.params(blockHash=HASH) == [
        {"address": ["0xaa"], "topics": [["0x" + A.hex()], None, ["0x" + B.hex()]], "blockHash": HASH}
    ]


def test_a_position_that_one_rule_leaves_open_is_open() -> None:
    query = LogQuery.union([("0xaa", ((A,), (A,))), ("0xbb", ((B,), None))])
    assert query == LogQuery(("0xaa", "0xbb"), ((A, B),))


def test_a_rule_with_fewer_topics_leaves_the_rest_open() -> None:
    assert LogQuery.union([("0xaa", ((A,), (A,))), ("0xaa", ((B,),))]) == LogQuery(("0xaa",), ((A, B),))


def test_a_rule_that_takes_anything_opens_the_question() -> None:
    assert LogQuery.union([("0xaa", ((A,),)), ("0xbb", ())]) == LogQuery(("0xaa", "0xbb"), ())


topic_filters = st.lists(
    st.none() | st.lists(st.sampled_from([A, B, b"c" * 32]), min_size=1, max_size=2).map(tuple), max_size=3
)


@given(
    st.lists(st.tuples(st.sampled_from(["0xaa", "0xbb"]), topic_filters.map(tuple)), min_size=1, max_size=4),
    st.sampled_from(["0xaa", "0xbb", "0xcc"]),
    st.lists(st.sampled_from([A, B, b"c" * 32]), max_size=3),
)
def test_no_log_that_a_rule_wants_is_left_out_of_the_question(
    wanted: list[tuple[str, tuple[Any, ...]]], address: str, topics: list[bytes]
) -> None:
    def takes(filter_address: str, filter_topics: tuple[Any, ...]) -> bool:
        """As a node decides: a log with fewer topics than the filter has does not match."""
        return (
            filter_address == address
            and len(topics) >= len(filter_topics)
            and all(choice is None or topic in choice for choice, topic in zip(filter_topics, topics, strict=False))
        )

    query = LogQuery.union(wanted)
    assert query is not None
    if any(takes(*one) for one in wanted):
        assert any(takes(each, query.topics) for each in query.addresses)
