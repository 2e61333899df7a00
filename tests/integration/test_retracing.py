"""A trigger is found again on the chain as it is now, by the very rule that would have made its task."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from following import CONTRACT, PING_ABI, ping

from listener.chains import Chain, Finder
from listener.errors import ChainUnavailable, NotPossible
from listener.rules.abi import find_event
from listener.rules.filter import event_filter
from listener.rules.matcher import Matcher
from listener.rules.triggers import BlockTrigger, EpochTrigger, EventTrigger
from listener.rules.where import conditions
from listener.testing import FakeNode, NodeError, logs_changed, once

FIFTHS = Matcher("fifths", "l2", BlockTrigger(every=5))
EPOCHS = Matcher("epochs", "l2", EpochTrigger(length=4))
PATIENCE_S = 20.0


def pings(**where: Any) -> Matcher:
    event = find_event(PING_ABI, "Ping", source="Ping.json")
    trigger = EventTrigger(contract="ping", event="Ping", where=where)
    return Matcher("pings", "l2", trigger, filter=event_filter(CONTRACT, event, conditions(where, event)))


@asynccontextmanager
async def finding(node: FakeNode, matcher: Matcher | None) -> AsyncIterator[Finder]:
    async with aiohttp.ClientSession() as session:
        chain = Chain("l2", 31337)
        chain.add(node.http_url, node.http_url, session)
        async with chain.attended():
            yield Finder(chain, matcher, asyncio.get_running_loop())


async def test_a_block_is_found_where_the_rule_fires_and_nowhere_else(node: FakeNode) -> None:
    async with finding(node, FIFTHS) as finder:
        found = await finder.find(5, None, 0)
        assert found is not None
        trigger, key = found
        fifth = node.chain.blocks[5]
        assert (trigger.rule, trigger.chain, trigger.chain_id, trigger.block_number) == ("fifths", "l2", 31337, 5)
        assert (bytes(trigger.block_hash), trigger.event, trigger.epoch) == (fifth.hash, None, None)
        assert len(key) == 32
        assert await finder.find(6, None, 0) is None
        assert await finder.find(5, 0, 0) is None, "a block has no log"


async def test_an_epoch_is_found_with_its_number(node: FakeNode) -> None:
    async with finding(node, EPOCHS) as finder:
        found = await finder.find(8, None, 0)
        assert found is not None
        assert found[0].epoch == 2


async def test_an_event_is_found_by_its_log_and_only_where_the_rule_wants_it(node: FakeNode) -> None:
    await node.mine(ping(channel=1, value=7), ping(channel=2, value=8, transaction="u"))
    async with finding(node, pings(channel=2)) as finder:
        found = await finder.find(11, 1, 0)
        assert found is not None
        event = found[0].event
        assert event is not None
        assert (event.args["value"], event.log_index) == (8, 1)
        assert await finder.find(11, 0, 0) is None, "the rule's where excludes it"
        assert await finder.find(10, 0, 0) is None
        with pytest.raises(ValueError, match="give log_index too"):
            await finder.find(11, None, 0)


async def test_the_logs_of_a_block_are_read_once_and_again_for_what_is_not_there(node: FakeNode) -> None:
    await node.mine(*[ping(value=value) for value in range(20)])
    async with finding(node, pings()) as finder:
        async with asyncio.TaskGroup() as group:
            found = [group.create_task(finder.find(11, index, 0)) for index in range(20)]
        assert all(each.result() for each in found)
        assert node.count("eth_getLogs") == 1
        assert await finder.find(11, 20, 0) is None
        assert node.count("eth_getLogs") == 2


async def test_a_log_that_an_endpoint_left_out_at_first_is_found_the_next_time(node: FakeNode) -> None:
    await node.mine(ping(value=7), ping(value=8))
    async with finding(node, pings()) as finder:
        node.after = logs_changed(lambda logs: logs[:1])
        assert await finder.find(11, 1, 0) is None
        node.after = None
        assert await finder.find(11, 1, 0) is not None


async def test_a_block_that_was_replaced_is_not_found_any_more(node: FakeNode) -> None:
    await node.mine(ping(value=7))
    async with finding(node, pings()) as finder:
        assert await finder.find(11, 0, 0) is not None
        node.chain.fork(1)
        await node.mine()
        assert await finder.find(11, 0, 0) is None
        await node.mine(ping(value=9))
        again = await finder.find(12, 0, 0)
        assert again is not None


async def test_a_block_that_is_not_there_yet_is_waited_for_and_never_takes_it_for_none(node: FakeNode) -> None:
    async with finding(node, FIFTHS) as finder:
        with pytest.raises(ChainUnavailable, match="there is no block 15 yet"):
            await finder.find(15, None, 0)
        looks = node.count("eth_getBlockByNumber")
        waiting = asyncio.ensure_future(finder.find(15, None, PATIENCE_S))
        while node.count("eth_getBlockByNumber") == looks:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.01)
        await node.mine(count=5)
        assert await waiting is not None


async def test_a_chain_that_cannot_be_read_is_read_again_within_the_patience(node: FakeNode) -> None:
    await node.mine(ping(value=7))
    async with finding(node, pings()) as finder:
        node.before = once("eth_getLogs", NodeError(-32000, "overloaded"))
        with pytest.raises(ChainUnavailable, match="overloaded"):
            await finder.find(11, 0, 0)
        node.before = once("eth_getLogs", NodeError(-32000, "overloaded"))
        assert await finder.find(11, 0, PATIENCE_S) is not None


async def test_what_no_block_makes_is_not_found_again(node: FakeNode) -> None:
    async with finding(node, None) as finder:
        with pytest.raises(NotPossible, match="no block makes this rule's tasks"):
            await finder.find(5, None, 0)
