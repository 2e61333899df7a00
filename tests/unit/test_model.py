"""The nouns: one key for one cause, and what a handler sees of its task."""

import dataclasses
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import block, event, fired, hashed

from listener.model import Block, Log, Occasion, State, TaskContext, Verdict
from listener.testing import context

STATES = "pending running ready accepted approved rejected unknown skipped expired cancelled failed discarded"


def test_the_key_of_a_cause_never_changes() -> None:
    """Written down: a key that changes with a new version would execute every open task a second time."""
    at = Block(12, b"\x11" * 32, b"\x22" * 32, 5, 6, 7)
    log = Log("0xab", (), b"", 12, at.hash, b"\x33" * 32, 4)
    assert Occasion("prices", "block", at).key(31337) == "41fa297cbb61df15dae45508c613b3b0"
    assert Occasion("prices", "event", at, log=log).key(31337) == "5015a2c08ad36f643f840dd19a2040ec"


def test_a_key_depends_on_rule_chain_block_hash_and_log_index() -> None:
    causes = [(fired(rule, block(11, branch)), chain) for rule, branch, chain in itertools.product("ab", "ab", (1, 10))]
    causes += [(event("a", block(11), index=index), 1) for index in (0, 1, 10)]
    assert len({occasion.key(chain) for occasion, chain in causes}) == len(causes)


@given(
    st.binary(max_size=40), st.integers(0, 2**64), st.integers(0, 2**32), st.lists(st.binary(min_size=32, max_size=32))
)
def test_a_key_does_not_depend_on_what_an_endpoint_may_tell_in_two_ways(
    data: bytes, timestamp: int, bloom: int, topics: list[bytes]
) -> None:
    at = block(11)
    told = Block(at.number, at.hash, hashed("another parent"), timestamp, bloom, 1)
    log = Log("0xab", tuple(topics), data, at.number, at.hash, hashed("another transaction"), 3)
    assert Occasion("a", "event", told, log=log).key(1) == event("a", at, index=3).key(1)
    assert Occasion("a", "epoch", told, epoch=9).key(1) == fired("a", at).key(1)


def test_states_are_their_own_texts() -> None:
    assert [str(state) for state in State] == STATES.split()
    assert State.READY == "ready"


def test_a_verdict_approves_rejects_or_is_unsure() -> None:
    assert (Verdict.approve().approved, Verdict.approve().reason) == (True, "")
    assert (Verdict.reject("why").approved, Verdict.reject("why").reason) == (False, "why")
    assert (Verdict.unsure("why").approved, Verdict.unsure("why").reason) == (None, "why")


class Reader:
    def at(self, block: int | bytes | str) -> Any:
        return block


@pytest.fixture
def ctx() -> TaskContext[None]:
    return dataclasses.replace(context(block_hash=b"\x07" * 32, timeout_s=5), reader=Reader())


async def test_a_context_reads_at_the_triggers_block_by_its_hash(ctx: TaskContext[None]) -> None:
    assert ctx.w3 == b"\x07" * 32
    assert type(ctx.w3) is bytes
    assert ctx.at(5) == 5


async def test_the_deadline_is_what_is_left(ctx: TaskContext[None]) -> None:
    assert 4 < ctx.deadline <= 5


async def test_nouns_are_immutable(ctx: TaskContext[None]) -> None:
    for noun in (block(1), fired("a", block(1)), ctx.trigger, ctx, Verdict.approve(), block(1).cursor):
        name = next(iter(type(noun).__dataclass_fields__))
        with pytest.raises((AttributeError, TypeError)):
            setattr(noun, name, None)
