"""A follower walks a scripted chain: every trigger once, in the order of the chain."""

from pathlib import Path

import pytest
from following import BLOCKS, PINGS, following, ping, write_config

from listener.devnet.accounts import ACCOUNTS
from listener.testing import FakeNode, logs_changed

pytestmark = pytest.mark.usefixtures("either_journal")

FOLLOWER = "follower"


async def test_blocks_epochs_and_events_become_rows_in_the_order_of_the_chain(node: FakeNode, tmp_path: Path) -> None:
    epochs = BLOCKS.replace('"blocks"', '"epochs"').replace(
        '{ type = "block", chain = "l2", every = 1 }', '{ type = "epoch", length = 4, at = "start" }'
    )
    blocks = BLOCKS.replace("every = 1", "every = 3")
    async with following(write_config(tmp_path, [node.ws_url], PINGS + blocks + epochs), FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine(ping(), ping(), count=2)
        await node.mine(ping(transaction="u"), count=3)
        await daemon.walked(15)
    assert daemon.brief() == [
        ("blocks", 12, None, "pending"),
        ("epochs", 12, None, "pending"),
        ("pings", 12, 0, "pending"),
        ("pings", 12, 1, "pending"),
        ("blocks", 15, None, "pending"),
        ("pings", 15, 0, "pending"),
    ]
    assert [row["epoch"] for row in daemon.rows if row["rule"] == "epochs"] == [3]
    assert {bytes(row["block_hash"]) for row in daemon.rows} == {node.chain.blocks[n].hash for n in (12, 15)}


async def test_an_epoch_can_fire_at_its_end(node: FakeNode, tmp_path: Path) -> None:
    rule = BLOCKS.replace('type = "block", chain = "l2", every = 1', 'type = "epoch", length = 4, at = "end"')
    async with following(write_config(tmp_path, [node.ws_url], rule), FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine(count=6)
        await daemon.walked(16)
    assert [(row["block_number"], row["epoch"]) for row in daemon.rows] == [(11, 2), (15, 3)]


async def test_a_blocks_criterion_leaves_no_row_for_what_it_excludes(node: FakeNode, tmp_path: Path) -> None:
    rule = PINGS + "blocks = { every = 2, offset = 1 }\n"
    async with following(write_config(tmp_path, [node.ws_url], rule), FOLLOWER) as daemon:
        await daemon.walked(10)
        for _ in range(5):
            await node.mine(ping())
        await daemon.walked(15)
    assert [row["block_number"] for row in daemon.rows] == [11, 13, 15]


async def test_an_indexed_condition_is_asked_of_the_node_and_a_plain_one_is_tested_here(
    node: FakeNode, tmp_path: Path
) -> None:
    rule = PINGS.replace('"Ping" }', '"Ping", where = { channel = { in = [2, 3] }, value = { gte = "10" } } }')
    async with following(write_config(tmp_path, [node.ws_url], rule), FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine(ping(1, 10), ping(2, 9), ping(2, 10), ping(3, 2**256 - 1), ping(4, 10))
        await daemon.walked(11)
    assert [row["log_index"] for row in daemon.rows] == [2, 3]
    (asked,) = [params[0] for method, params in node.calls if method == "eth_getLogs"]
    assert [int(topic, 16) for topic in asked["topics"][1]] == [2, 3]


async def test_a_block_whose_bloom_excludes_every_rule_is_not_asked_for_logs(node: FakeNode, tmp_path: Path) -> None:
    async with following(write_config(tmp_path, [node.ws_url], PINGS), FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine(count=5)
        await daemon.walked(15)
        assert node.count("eth_getLogs") == 0
        block = await node.mine(ping())
        await daemon.walked(16)
        asked = [params[0]["blockHash"] for method, params in node.calls if method == "eth_getLogs"]
        assert asked == ["0x" + block.hash.hex()]
    assert daemon.states() == [(16, "pending")]


async def test_an_all_zero_bloom_on_a_block_that_used_gas_skips_nothing(node: FakeNode, tmp_path: Path) -> None:
    def without_bloom(method: str, _params: object, result: dict[str, object]) -> object:
        return {**result, "logsBloom": "0x" + "00" * 256} if method == "eth_getBlockByNumber" else result

    node.after = without_bloom
    async with following(write_config(tmp_path, [node.http_url], PINGS), FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine(ping())
        await daemon.walked(11)
    assert daemon.states() == [(11, "pending")]


async def test_with_bloom_off_every_block_is_asked_for(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url], PINGS, chain="bloom = false")
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine(count=3)
        await daemon.walked(13)
        assert node.count("eth_getLogs") == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda logs: logs * 2,
        lambda logs: logs[::-1],
        lambda logs: [{**logs[0], "removed": True, "logIndex": "0x7"}, *logs],
    ],
    ids=["doubled", "unordered", "with a removed one"],
)
async def test_logs_are_journaled_once_and_in_order_however_they_are_answered(
    node: FakeNode, tmp_path: Path, change: object
) -> None:
    node.after = logs_changed(change)  # type: ignore[arg-type]
    async with following(write_config(tmp_path, [node.ws_url], PINGS), FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine(ping(value=1), ping(value=2), ping(value=3))
        await daemon.walked(11)
    assert [row["log_index"] for row in daemon.rows] == [0, 1, 2]


async def test_logs_of_another_block_than_asked_for_are_not_taken(node: FakeNode, tmp_path: Path) -> None:
    foreign = {"blockHash": "0x" + "77" * 32}
    node.after = logs_changed(lambda logs: [{**log, **foreign} for log in logs])
    async with following(write_config(tmp_path, [node.ws_url], PINGS), FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine(ping())
        await daemon.until(lambda: node.count("eth_getLogs") >= 2)
        assert daemon.cursor == 10
        node.after = None
        await daemon.walked(11)
    assert [bytes(row["block_hash"]) for row in daemon.rows] == [node.chain.head.hash]


async def test_heads_that_jump_repeat_and_go_back_change_nothing(node: FakeNode, tmp_path: Path) -> None:
    async with following(write_config(tmp_path, [node.ws_url], BLOCKS), FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine()
        await daemon.walked(11)
        node.chain.add(count=4)
        await node.push(node.chain.head)  # jumps 11 → 15
        await daemon.walked(15)
        for number in (15, 15, 14, 10, 0):
            await node.push(node.chain.blocks[number])
        await node.mine()
        await daemon.walked(16)
        node.chain.add(count=40)  # further than one batch of the walk
        await node.push(node.chain.head)
        await daemon.walked(56)
    assert daemon.states() == [(number, "pending") for number in range(11, 57)]


async def test_a_start_of_latest_fires_from_the_next_block_on(node: FakeNode, tmp_path: Path) -> None:
    async with following(write_config(tmp_path, [node.ws_url], BLOCKS, chain='start = "latest"'), FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine()
        await daemon.walked(11)
    assert daemon.states() == [(11, "pending")]


@pytest.mark.parametrize("start", [0, 1, 7, 10])
async def test_a_start_block_fires_itself(node: FakeNode, tmp_path: Path, start: int) -> None:
    async with following(write_config(tmp_path, [node.ws_url], BLOCKS, chain=f"start = {start}"), FOLLOWER) as daemon:
        await daemon.walked(10)
    assert daemon.states() == [(number, "pending") for number in range(start, 11)]


async def test_a_start_that_is_still_to_come_is_waited_for(node: FakeNode, tmp_path: Path) -> None:
    async with following(write_config(tmp_path, [node.ws_url], BLOCKS, chain="start = 13"), FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine(count=4)
        await daemon.walked(14)
    assert daemon.states() == [(13, "pending"), (14, "pending")]


async def test_blocks_that_came_while_the_daemon_was_away_are_walked_in_order(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url], PINGS + BLOCKS)
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(10)
    node.chain.add(ping(), count=3)
    node.chain.add(ping(), count=2)
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(15)
    assert daemon.states("blocks") == [(number, "pending") for number in range(11, 16)]
    assert daemon.states("pings") == [(13, "pending"), (15, "pending")]
    assert [row["block_number"] for row in daemon.rows] == [11, 12, 13, 13, 14, 15, 15]


async def test_a_rule_that_is_added_or_changed_fires_for_no_old_block(node: FakeNode, tmp_path: Path) -> None:
    async with following(write_config(tmp_path, [node.ws_url], PINGS, chain="start = 5"), FOLLOWER) as daemon:
        await daemon.walked(10)
    node.chain.add(ping(1), ping(2), count=2)
    narrower = PINGS.replace('"Ping" }', '"Ping", where = { channel = 1 } }')
    config = write_config(tmp_path, [node.ws_url], narrower + BLOCKS, chain="start = 5")
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(12)
    assert daemon.brief() == [
        ("blocks", 11, None, "pending"),
        ("blocks", 12, None, "pending"),
        ("pings", 12, 0, "pending"),
    ]


async def test_a_removed_rule_that_comes_back_is_a_new_one(node: FakeNode, tmp_path: Path) -> None:
    other = PINGS.replace('"pings"', '"others"')
    for rules, height in ((BLOCKS + other, 11), (other, 13), (BLOCKS + other, 15)):
        async with following(write_config(tmp_path, [node.ws_url], rules), FOLLOWER) as daemon:
            await daemon.walked(node.chain.head.number)
            await node.mine(count=height - node.chain.head.number)
            await daemon.walked(height)
    assert daemon.states("blocks") == [(11, "expired"), (14, "pending"), (15, "pending")]


async def test_an_address_of_another_contract_is_not_listened_to(node: FakeNode, tmp_path: Path) -> None:
    from dataclasses import replace  # noqa: PLC0415

    foreign = replace(ping(), address=ACCOUNTS[3].address)
    async with following(write_config(tmp_path, [node.ws_url], PINGS), FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine(foreign, ping())
        await daemon.walked(11)
    assert daemon.brief() == [("pings", 11, 1, "pending")]
