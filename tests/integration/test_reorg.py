"""What a reorg does to tasks, on a scripted chain: nothing runs for a block that is gone, nothing runs twice."""

from pathlib import Path

import pytest
from following import BLOCKS, PINGS, following, ping, write_config
from structlog.testing import capture_logs

from listener.devnet.aggregator import Aggregator
from listener.testing import FakeNode

pytestmark = pytest.mark.usefixtures("either_journal")

FOLLOWER = "follower"
ONCE_BLOCKS = BLOCKS + 'on_reorg = "once"\n'
RERUN_PINGS = PINGS + 'on_reorg = "rerun"\n'


@pytest.mark.parametrize("depth", [1, 3, 40])
async def test_unsent_work_of_replaced_blocks_is_cancelled_and_the_new_blocks_fire(
    node: FakeNode, tmp_path: Path, depth: int
) -> None:
    async with following(write_config(tmp_path, [node.ws_url], BLOCKS), FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine(count=45)
        await daemon.walked(55)
        old = {block.hash for block in node.chain.fork(depth)}
        await node.mine(count=depth + 1)
        await daemon.walked(56)
    rows = daemon.rows
    assert [row["block_number"] for row in rows if row["state"] == "cancelled"] == list(range(56 - depth, 56))
    assert {bytes(row["block_hash"]) for row in rows if row["state"] == "cancelled"} == old
    alive = [bytes(row["block_hash"]) for row in rows if row["state"] == "pending"]
    assert alive == [block.hash for block in node.chain.blocks[11:57]]


async def test_a_block_of_the_same_height_replaces_the_newest(node: FakeNode, tmp_path: Path) -> None:
    async with following(write_config(tmp_path, [node.ws_url], BLOCKS), FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine(count=2)
        await daemon.walked(12)
        node.chain.fork(1)
        new = await node.mine()
        await daemon.until(lambda: bytes(daemon.chain["hash"]) == new.hash)
    assert daemon.states() == [(11, "pending"), (12, "cancelled"), (12, "pending")]


async def test_a_shorter_branch_is_followed_too(node: FakeNode, tmp_path: Path) -> None:
    async with following(write_config(tmp_path, [node.ws_url], BLOCKS), FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine(count=5)
        await daemon.walked(15)
        node.chain.fork(4)
        new = await node.mine(count=2)
        await daemon.until(lambda: bytes(daemon.chain["hash"]) == new.hash)
        await node.mine()
        await daemon.walked(14)
    assert [number for number, state in daemon.states() if state == "pending"] == [11, 12, 13, 14]


async def test_a_block_that_returns_brings_its_cancelled_work_back(node: FakeNode, tmp_path: Path) -> None:
    async with following(write_config(tmp_path, [node.ws_url], PINGS + BLOCKS), FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine(ping())
        await node.mine(ping(), count=2)
        await daemon.walked(13)
        first = daemon.brief()
        old = node.chain.fork(2)
        await node.mine(ping(), count=3)
        await daemon.walked(14)
        new = node.chain.fork(3)
        node.chain.return_to(old)
        await node.mine(count=2)
        await daemon.walked(15)
    rows = daemon.rows
    assert [(row["rule"], row["block_number"], row["log_index"], row["state"]) for row in rows[: len(first)]] == first
    gone = {block.hash for block in new}
    assert {row["state"] for row in rows if bytes(row["block_hash"]) in gone} == {"cancelled"}
    assert len(rows) == len(first) + 4 + 2


async def test_a_reorg_of_a_reorg_while_the_daemon_was_away_is_one_step(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS)
    node.chain.final = None
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine(count=5)
        await daemon.walked(15)
    node.chain.fork(3)
    node.chain.add(count=4)
    node.chain.fork(2)
    node.chain.add(count=80)
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(node.chain.head.number)
    alive = [bytes(row["block_hash"]) for row in daemon.rows if row["state"] == "pending"]
    assert alive == [block.hash for block in node.chain.blocks[11:]]
    assert [number for number, state in daemon.states() if state == "cancelled"] == [13, 14, 15]


@pytest.mark.parametrize("blocks", [80, 300])
async def test_the_last_block_before_a_long_absence_may_be_replaced(
    node: FakeNode, tmp_path: Path, blocks: int
) -> None:
    node.chain.final = None
    config = write_config(tmp_path, [node.ws_url], PINGS + BLOCKS)
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine(count=5)
        await node.mine(ping())
        await daemon.walked(16)
    node.chain.fork(1)
    node.chain.add(count=blocks)
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(15 + blocks)
    assert [(row["rule"], row["block_number"]) for row in daemon.rows if row["state"] == "cancelled"] == [
        ("blocks", 16),
        ("pings", 16),
    ]
    alive = [bytes(row["block_hash"]) for row in daemon.rows if row["state"] == "pending"]
    assert alive == [block.hash for block in node.chain.blocks[11:]]


async def test_a_reorg_in_the_middle_of_a_catch_up_leaves_no_orphan_behind(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.http_url], BLOCKS, chain="start = 11")
    node.chain.add(count=60)
    asked = 0

    async def fork_meanwhile(method: str, _params: object) -> None:
        nonlocal asked
        asked += method == "eth_getBlockByNumber"
        if asked == 50 and node.chain.name:
            asked = 1000
            node.chain.fork(30)
            node.chain.add(count=31)

    node.before = fork_meanwhile
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(71)
    alive = [bytes(row["block_hash"]) for row in daemon.rows if row["state"] == "pending"]
    assert alive == [block.hash for block in node.chain.blocks[11:]]


async def test_the_block_at_which_a_daemon_began_may_be_replaced(node: FakeNode, tmp_path: Path) -> None:
    async with following(write_config(tmp_path, [node.ws_url], BLOCKS), FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine()
        await daemon.walked(11)
        node.chain.fork(3)
        await node.mine(count=5)
        await daemon.walked(13)
        assert daemon.chain["halted"] is None
    assert daemon.states() == [(11, "cancelled"), (11, "pending"), (12, "pending"), (13, "pending")]


async def test_a_node_that_is_behind_is_no_reorg(node: FakeNode, tmp_path: Path) -> None:
    node.chain.add(count=500)
    with capture_logs() as lines:
        async with following(write_config(tmp_path, [node.http_url], BLOCKS), FOLLOWER) as daemon:
            await daemon.walked(510)
            await node.mine(count=10)
            await daemon.walked(520)
            for depth in (1, 5, 500):
                lost = node.chain.fork(depth)
                asked = node.count("eth_getBlockByNumber")
                await daemon.until(lambda asked=asked: node.count("eth_getBlockByNumber") > asked + 1)
                node.chain.return_to(lost)
            await daemon.stay(520)
            await node.mine()
            await daemon.walked(521)
            assert daemon.chain["halted"] is None
    said = {line["event"] for line in lines if line["log_level"] != "debug"}
    assert said - {"journal.not_crash_safe"} == {"journal.opened", "chain.begun"}  # the tests' server does not sync
    assert daemon.states() == [(number, "pending") for number in range(511, 522)]


# With what was sent


async def test_what_was_sent_is_marked_and_each_rule_does_what_its_policy_says(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    rules = PINGS + RERUN_PINGS.replace('"pings"', '"rerun"').replace("= 0\n", "= 2\n") + BLOCKS
    rules += ONCE_BLOCKS.replace('"blocks"', '"blocks-once"')
    async with following(write_config(tmp_path, [node.ws_url], rules, aggregator=aggregator.url)) as daemon:
        await daemon.walked(10)
        await node.mine(ping(value=1, transaction="t"))
        await daemon.until(lambda: len(aggregator.accepted) == 4 and {s for _, s in daemon.states()} == {"accepted"})
        node.chain.fork(1)
        await node.mine(count=1)
        await node.mine(ping(value=2, transaction="t"), ping(value=3, transaction="u"))
        await daemon.walked(12)
        await daemon.until(lambda: not {"pending", "running", "ready"} & {state for _, state in daemon.states()})
    orphans = {row["rule"]: row["id"] for row in daemon.rows if row["orphaned"]}
    assert set(orphans) == {"pings", "rerun", "blocks", "blocks-once"}
    later = {}
    for row in daemon.rows:
        if not row["orphaned"]:
            later.setdefault(row["rule"], []).append(
                (row["block_number"], row["log_index"], row["state"], row["error"])
            )
    assert later == {
        "pings": [(12, 0, "skipped", f"already sent as task {orphans['pings']}"), (12, 1, "accepted", None)],
        "rerun": [(12, 0, "accepted", None), (12, 1, "accepted", None)],
        "blocks": [(11, None, "accepted", None), (12, None, "accepted", None)],
        "blocks-once": [
            (11, None, "skipped", f"already sent as task {orphans['blocks-once']}"),
            (12, None, "accepted", None),
        ],
    }


async def test_a_mark_is_lifted_when_the_block_returns_and_nothing_is_sent_again(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    config = write_config(tmp_path, [node.ws_url], PINGS, aggregator=aggregator.url)
    async with following(config) as daemon:
        await daemon.walked(10)
        await node.mine(ping())
        await daemon.until(lambda: daemon.states() == [(11, "accepted")])
        old = node.chain.fork(1)
        await node.mine(count=2)
        await daemon.walked(12)
        assert [row["orphaned"] for row in daemon.rows] == [1]
        node.chain.return_to(old)
        await node.mine(count=2)
        await daemon.walked(13)
        assert [row["orphaned"] for row in daemon.rows] == [0]
    assert len(aggregator.accepted) == 1
    assert aggregator.refused == []
