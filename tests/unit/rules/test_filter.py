"""Filters of logs: what they take, and when a header's bloom spares the question."""

from eth_bloom import BloomFilter
from hypothesis import given
from hypothesis import strategies as st
from sample_logs import ADDRESS, INTENT_SENT, MOVED, SOMEONE, intent, log, moved

from listener.rules.filter import event_filter
from listener.rules.where import conditions

words = st.binary(min_size=32, max_size=32)
WHERE = {"small": {"in": [1, 2]}, "from": SOMEONE}


def test_a_log_of_another_contract_event_or_topic_count_is_not_taken() -> None:
    made = event_filter(ADDRESS, INTENT_SENT, ())
    assert made.matches(intent())
    assert not made.matches(intent(address="0x" + "11" * 20))
    assert not made.matches(log([MOVED.topic0], intent().data))
    assert not made.matches(log([INTENT_SENT.topic0, bytes(32)], intent().data))
    assert not made.matches(log([], b""))


def test_a_log_that_cannot_be_read_is_taken_so_that_it_is_seen() -> None:
    made = event_filter(ADDRESS, INTENT_SENT, conditions({"chainId": 10}, INTENT_SENT))
    assert made.matches(log([INTENT_SENT.topic0], b"short"))


def test_a_decoded_event_shows_what_a_handler_needs() -> None:
    event = event_filter(ADDRESS, INTENT_SENT, ()).decode(intent(chain_id=5, index=3))
    assert (event.name, event.log_index, event.args["chainId"]) == ("IntentSent", 3, 5)
    assert event.address == "0x5FbDB2315678afecb367f032d93F642f64180aa3"
    assert event.transaction_hash == bytes(32)


@given(st.lists(st.tuples(st.binary(min_size=20, max_size=20), st.lists(words, max_size=4)), max_size=30))
def test_a_bloom_never_excludes_a_block_that_holds_a_log_of_ours(others: list[tuple[bytes, list[bytes]]]) -> None:
    made = event_filter(ADDRESS, MOVED, conditions(WHERE, MOVED))
    mine = moved(small=2)
    bloom = BloomFilter()
    bloom.add(bytes.fromhex(ADDRESS[2:]))
    bloom.extend(mine.topics)
    for address, topics in others:
        bloom.add(address)
        bloom.extend(topics)
    assert not made.excluded_by(int(bloom))


def test_a_bloom_excludes_where_the_address_or_every_alternative_of_a_topic_is_missing() -> None:
    made = event_filter(ADDRESS, MOVED, conditions(WHERE, MOVED))
    address, topics = bytes.fromhex(ADDRESS[2:]), moved(small=2).topics
    assert made.excluded_by(0)
    assert made.excluded_by(_bloom(*topics))
    for missing in (0, 1, 3):
        assert made.excluded_by(_bloom(address, *(topic for at, topic in enumerate(topics) if at != missing)))
    assert made.excluded_by(_bloom(address, *topics[:3], moved(small=3).topics[3]))
    assert not made.excluded_by(_bloom(address, topics[0], topics[1], topics[3]))  # any label will do
    assert not made.excluded_by(2**2048 - 1)


@given(st.lists(words, min_size=1, max_size=20), words)
def test_a_topic_is_excluded_exactly_where_the_reference_says_so(topics: list[bytes], asked: bytes) -> None:
    made = event_filter(ADDRESS, INTENT_SENT, ())
    object.__setattr__(made, "topics", ((asked,),))
    bloom = BloomFilter.from_iterable([bytes.fromhex(ADDRESS[2:]), *topics])
    assert made.excluded_by(int(bloom)) == (asked not in bloom)


def _bloom(*values: bytes) -> int:
    return int(BloomFilter.from_iterable(values))
