"""A task waits for its rule's confirmations, or for its block to be safe or final, and no longer."""

from pathlib import Path

import pytest
from following import PINGS, following, ping, write_config

from listener.devnet.aggregator import Aggregator
from listener.testing import FakeNode

pytestmark = pytest.mark.usefixtures("either_journal")


async def test_confirmations_hold_a_task_until_the_head_is_far_enough(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    rule = PINGS + "confirmations = 3\n"
    async with following(write_config(tmp_path, [node.ws_url], rule, aggregator=aggregator.url)) as daemon:
        await daemon.walked(10)
        await node.mine(ping())
        await node.mine(count=2)
        await daemon.stay(13)
        assert daemon.states() == [(11, "pending")]
        await node.mine()
        await daemon.until(lambda: daemon.states() == [(11, "accepted")])
    assert len(aggregator.accepted) == 1


async def test_a_held_task_of_a_block_that_left_is_never_sent(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    rule = PINGS + "confirmations = 3\n"
    async with following(write_config(tmp_path, [node.ws_url], rule, aggregator=aggregator.url)) as daemon:
        await daemon.walked(10)
        await node.mine(ping())
        await node.mine(count=2)
        await daemon.walked(13)
        node.chain.fork(3)
        await node.mine(count=10)
        await daemon.stay(20)
    assert daemon.states() == [(11, "cancelled")]
    assert aggregator.accepted == []


@pytest.mark.parametrize(("finality", "tag"), [("safe", "safe"), ("finalized", "final")])
async def test_finality_holds_a_task_until_the_tag_reaches_its_block(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path, finality: str, tag: str
) -> None:
    node.chain.safe = node.chain.final = 8
    rule = PINGS + f'finality = "{finality}"\n'
    async with following(write_config(tmp_path, [node.ws_url], rule, aggregator=aggregator.url)) as daemon:
        await daemon.walked(10)
        await node.mine(ping())
        await node.mine(count=100)
        setattr(node.chain, tag, 10)
        await node.mine()
        await daemon.stay(112)
        assert daemon.states() == [(11, "pending")]
        setattr(node.chain, tag, 11)
        await node.mine()
        await daemon.until(lambda: daemon.states() == [(11, "accepted")])


async def test_a_node_that_fails_to_say_what_is_final_releases_nothing(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    node.chain.final = 9
    rule = PINGS + 'finality = "finalized"\n'
    config = write_config(tmp_path, [node.ws_url], rule, aggregator=aggregator.url, chain="final_after = 5")
    async with following(config) as daemon:
        await daemon.walked(10)
        await node.mine(ping())
        await daemon.walked(11)
        node.chain.final = None  # answered with an error from now on
        await node.mine(count=10)
        await daemon.stay(21)
        assert daemon.states() == [(11, "pending")]
        node.chain.final = 11
        await node.mine()
        await daemon.until(lambda: daemon.states() == [(11, "accepted")])


async def test_without_tags_a_block_is_final_after_so_many(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    rule = PINGS + 'finality = "finalized"\n'
    node.chain.final = None
    config = write_config(tmp_path, [node.ws_url], rule, aggregator=aggregator.url, chain="final_after = 5")
    async with following(config) as daemon:
        await daemon.walked(10)
        await node.mine(ping())
        await node.mine(count=4)
        await daemon.stay(15)
        assert daemon.states() == [(11, "pending")]
        await node.mine()
        await daemon.until(lambda: daemon.states() == [(11, "accepted")])
