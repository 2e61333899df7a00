"""A chain that left us below its final block is a state: it waits, the others go on, and it comes back by itself."""

from pathlib import Path

import pytest
from following import BLOCKS, PINGS, Following, following, ping, write_config
from structlog.testing import capture_logs

from listener import app
from listener.config import load
from listener.devnet.aggregator import Aggregator
from listener.errors import ConfigError, JournalError
from listener.follower import finality
from listener.testing import FakeNode, ScriptedChain

pytestmark = pytest.mark.usefixtures("either_journal")

FOLLOWER = "follower"


@pytest.fixture(autouse=True)
def _ask_for_tags_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finality, "EVERY_S", 0.0)


async def walked_with_final(daemon: Following, node: FakeNode, final: int) -> None:
    """Walk to block 20, and have the journal know that ``final`` is final."""
    await daemon.walked(10)
    node.chain.final = final
    await node.mine(count=9)
    await daemon.walked(19)
    await node.mine()
    await daemon.until(lambda: daemon.cursor == 20 and daemon.chain["final"] == final)


async def test_a_reorg_down_to_the_final_block_is_followed(node: FakeNode, tmp_path: Path) -> None:
    async with following(write_config(tmp_path, [node.ws_url], BLOCKS), FOLLOWER) as daemon:
        await walked_with_final(daemon, node, 15)
        node.chain.fork(5)
        await node.mine(count=6)
        await daemon.walked(21)
        assert daemon.chain["halted"] is None
    assert [number for number, state in daemon.states() if state == "cancelled"] == [16, 17, 18, 19, 20]


async def test_a_deeper_reorg_halts_the_chain_and_it_goes_on_when_its_blocks_return(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS, aggregator=aggregator.url)
    with capture_logs() as lines:
        async with following(config) as daemon:
            await walked_with_final(daemon, node, 15)
            await daemon.until(lambda: len(aggregator.accepted) == 10)
            old = node.chain.fork(6)
            await node.mine(count=8)
            await daemon.until(lambda: daemon.chain["halted"])
            assert "listener chains rewind l2 --to" in daemon.chain["halted"]
            assert daemon.cursor == 20
            lost = node.chain.fork(8)
            node.chain.return_to(old)
            await node.mine(count=2)
            await daemon.walked(22)
            assert daemon.chain["halted"] is None
            await daemon.until(lambda: len(aggregator.accepted) == 12)
    assert [number for number, _ in daemon.states()] == list(range(11, 23))
    assert {row["orphaned"] for row in daemon.rows} == {0}
    assert len(lost) == 8
    assert [line["event"] for line in lines].count("chain.halted") == 1
    assert [line["event"] for line in lines].count("chain.resumed") == 1


async def test_a_halted_chain_leaves_the_others_running(node: FakeNode, aggregator: Aggregator, tmp_path: Path) -> None:
    async with FakeNode(ScriptedChain(10, name="other"), chain_id=10) as other:
        more = f'[chains.other]\nendpoints = ["{other.ws_url}"]\nchain_id = 10\n'
        rules = BLOCKS + BLOCKS.replace('"blocks"', '"others"').replace('"l2"', '"other"')
        config = write_config(tmp_path, [node.ws_url], rules, more=more, aggregator=aggregator.url)
        async with following(config) as daemon:
            await daemon.until(lambda: len(daemon.query("SELECT name FROM chains")) == 2)
            await walked_with_final(daemon, node, 15)
            node.chain.fork(7)
            await node.mine(count=9)
            await daemon.until(lambda: daemon.chain["halted"])
            await other.mine(count=3)
            await daemon.until(lambda: daemon.states("others") == [(n, "accepted") for n in (11, 12, 13)])
            assert daemon.chain["halted"]


async def test_a_halt_outlives_a_restart_and_rewinding_is_the_way_out(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS)
    async with following(config, FOLLOWER) as daemon:
        await walked_with_final(daemon, node, 15)
        node.chain.fork(8)
        await node.mine(count=12)
        await daemon.until(lambda: daemon.chain["halted"])
    async with following(config, FOLLOWER) as daemon:
        await daemon.until(lambda: daemon.chain["halted"])
        with pytest.raises(JournalError, match=r"owns it|in use by"):
            await app.rewind(load(config, {}), "l2", 12)
    done = await app.rewind(load(config, {}), "l2", 12)
    assert (done.cursor.number, done.cancelled, done.orphaned) == (12, 8, 0)
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(24)
        assert daemon.chain["halted"] is None
    alive = [bytes(row["block_hash"]) for row in daemon.rows if row["state"] == "pending"]
    assert alive == [block.hash for block in node.chain.blocks[11:]]


async def test_rewinding_to_the_newest_block_skips_what_lies_between(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.http_url], BLOCKS)
    async with following(config, FOLLOWER) as daemon:
        await walked_with_final(daemon, node, 15)
    node.chain.add(count=10)
    done = await app.rewind(load(config, {}), "l2", None)
    assert (done.cursor.number, done.cancelled) == (30, 0)
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(30)
        await node.mine()
        await daemon.walked(31)
        node.chain.fork(2)  # what was skipped stays skipped, even when the block of the rewinding is replaced
        await node.mine(count=3)
        await daemon.walked(32)
    pending = [number for number, state in daemon.states() if state == "pending"]
    assert pending == [*range(11, 21), 30, 31, 32]


async def test_rewinding_to_a_new_branch_cancels_what_was_open_on_the_old_one(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.http_url], BLOCKS)
    async with following(config, FOLLOWER) as daemon:
        await walked_with_final(daemon, node, 15)
    node.chain.fork(6)
    node.chain.add(count=10)
    done = await app.rewind(load(config, {}), "l2", None)
    assert (done.cursor.number, done.cancelled, done.orphaned) == (24, 6, 0)
    assert [number for number, state in daemon.states() if state == "pending"] == [11, 12, 13, 14]
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(24)
        node.chain.add()
        await daemon.walked(25)
        assert daemon.chain["halted"] is None


async def test_rewinding_back_sends_nothing_twice(node: FakeNode, aggregator: Aggregator, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url], PINGS + BLOCKS, aggregator=aggregator.url)
    async with following(config) as daemon:
        await daemon.walked(10)
        for _ in range(4):
            await node.mine(ping())
        await daemon.until(lambda: len(aggregator.accepted) == 8)
        await daemon.until(lambda: {state for _, state in daemon.states()} == {"accepted"})
    done = await app.rewind(load(config, {}), "l2", 11)
    assert (done.cancelled, done.orphaned) == (0, 6)
    async with following(config) as daemon:
        await node.mine()
        await daemon.until(lambda: (15, "accepted") in daemon.states())
    assert len(aggregator.accepted) == 9
    assert aggregator.refused == []
    assert {row["orphaned"] for row in daemon.rows} == {0}


async def test_a_block_that_the_chain_does_not_have_is_no_place_to_rewind_to(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.http_url], BLOCKS)
    with pytest.RaisesGroup(pytest.RaisesExc(ConfigError, match="never followed"), allow_unwrapped=True):
        await app.rewind(load(config, {}), "l2", 5)
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(10)
    with pytest.RaisesGroup(pytest.RaisesExc(ConfigError, match="has no block 99"), allow_unwrapped=True):
        await app.rewind(load(config, {}), "l2", 99)
    assert daemon.cursor == 10


@pytest.mark.parametrize("height", [3, 20, 400])
@pytest.mark.parametrize("start", ["0", '"latest"'])
async def test_a_chain_that_was_started_anew_is_called_what_it_is(
    node: FakeNode, tmp_path: Path, height: int, start: str
) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS, chain=f"start = {start}")
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine(count=2)
        await daemon.walked(12)
        before = daemon.brief()
        node.chain.__init__(height, name="new")  # type: ignore[misc]  # the same node, on another chain
        await node.push(node.chain.head)
        await daemon.until(lambda: daemon.chain["halted"])
        assert "another chain, such as a local one" in daemon.chain["halted"]
    assert daemon.brief() == before
