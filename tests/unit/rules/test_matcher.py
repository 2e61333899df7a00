"""Matchers: where block and epoch rules fire, and when a rule counts as changed."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_logs import ADDRESS, INTENT_SENT, block, intent

from listener.rules.filter import event_filter
from listener.rules.match import match
from listener.rules.matcher import Matcher
from listener.rules.triggers import Blocks, BlockTrigger, EpochTrigger, EventTrigger

triggers = st.one_of(
    st.builds(BlockTrigger, every=st.integers(1, 30), offset=st.integers(0, 40)),
    st.builds(EpochTrigger, length=st.integers(1, 30), at=st.sampled_from(["start", "end"])),
)
criteria = st.none() | st.builds(Blocks, every=st.integers(1, 12), offset=st.integers(0, 20))


def fires(trigger: BlockTrigger | EpochTrigger, number: int) -> bool:
    """The sentences of the manual, word by word."""
    if isinstance(trigger, BlockTrigger):
        return (number - trigger.offset) % trigger.every == 0
    return number % trigger.length == (0 if trigger.at == "start" else trigger.length - 1)


@given(triggers, criteria, st.integers(0, 100), st.integers(0, 120), st.integers(0, 120))
def test_boundaries_are_the_blocks_on_which_a_walk_would_fire(
    trigger: BlockTrigger | EpochTrigger, blocks: Blocks | None, since: int, first: int, width: int
) -> None:
    matcher = Matcher("r", "l2", trigger, blocks, since=since)
    last = first + width
    expected = [
        number
        for number in range(first, last + 1)
        if fires(trigger, number)
        and number >= since
        and (blocks is None or (number - blocks.offset) % blocks.every == 0)
    ]
    assert list(matcher.boundaries(first, last)) == expected
    assert [number for number in range(first, last + 1) if list(matcher.occasions(block(number), []))] == expected


def test_an_epoch_counts_from_zero() -> None:
    matcher = Matcher("r", "l2", EpochTrigger(length=10, at="end"))
    (occasion,) = matcher.occasions(block(29), [])
    assert (occasion.trigger, occasion.epoch, occasion.log) == ("epoch", 2, None)


def test_an_event_rule_has_no_boundaries_and_looks_only_where_it_applies() -> None:
    matcher = event_rule(blocks=Blocks(every=20), since=40)
    assert list(matcher.boundaries(0, 1000)) == []
    assert [number for number in (20, 40, 41, 60) if list(matcher.occasions(block(number), [intent()]))] == [40, 60]
    assert [number for number in (20, 40, 41, 60) if matcher.applies(number)] == [40, 60]


def test_triggers_of_a_block_come_by_log_and_then_by_rule() -> None:
    matchers = [
        event_rule("one"),
        Matcher("every", "l2", BlockTrigger()),
        event_rule("two"),
        Matcher("epoch", "l2", EpochTrigger(length=7)),
        event_rule("elsewhere", address="0x" + "11" * 20),
    ]
    found = match(matchers, block(7), [intent(index=2), intent(index=5)])
    assert [(one.rule, one.log and one.log.index) for one in found] == [
        ("every", None), ("epoch", None), ("one", 2), ("two", 2), ("one", 5), ("two", 5),
    ]  # fmt: skip


def test_a_block_without_occasions_gives_none() -> None:
    assert match([event_rule(), Matcher("r", "l2", BlockTrigger(every=2))], block(7), []) == []


CHANGES = (
    {"trigger": EventTrigger(contract="c", event="IntentSent", where={"chainId": 11})},
    {"trigger": EventTrigger(contract="d", event="IntentSent", where={"chainId": 10})},
    {"trigger": EventTrigger(contract="c", event="Other", where={"chainId": 10})},
    {"trigger": BlockTrigger()},
    {"blocks": Blocks(every=20)},
    {"chain": "l1"},
)


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_trigger_condition_or_criterion_changes_the_fingerprint(change: dict[str, Any]) -> None:
    assert replace(event_rule(), **change).fingerprint != event_rule().fingerprint


@pytest.mark.parametrize("change", [{"since": 5}, {"filter": None}, {"name": "other"}])
def test_what_the_rule_does_not_say_leaves_the_fingerprint(change: dict[str, Any]) -> None:
    assert replace(event_rule(), **change).fingerprint == event_rule().fingerprint


def test_a_default_that_is_written_out_is_no_change() -> None:
    brief, full = BlockTrigger(every=3), BlockTrigger(type="block", chain=None, every=3, offset=0)
    assert Matcher("r", "l2", brief).fingerprint == Matcher("r", "l2", full).fingerprint
    named = BlockTrigger(every=3, chain="l2")
    assert Matcher("r", "l2", brief).fingerprint == Matcher("r", "l2", named).fingerprint


def test_the_fingerprint_of_a_rule_stays_the_same_from_version_to_version() -> None:
    assert event_rule().fingerprint == "353414c62ce843dfcfa3f1ab02c305a7"
    assert Matcher("r", "l2", BlockTrigger(every=10), Blocks(every=2)).fingerprint == "a81bd38f7ea6a00b1109bf8711023913"


def event_rule(
    name: str = "intents", *, blocks: Blocks | None = None, since: int = 0, address: str = ADDRESS
) -> Matcher:
    trigger = EventTrigger(contract="c", event="IntentSent", where={"chainId": 10})
    return Matcher(name, "l2", trigger, blocks, event_filter(address, INTENT_SENT, ()), since)
