"""With ``quorum = k``, k endpoints must say the same of a block's hash and of its logs."""

import asyncio
import copy
from pathlib import Path

import pytest
from following import BLOCKS, PINGS, following, ping, write_config
from structlog.testing import capture_logs

from listener.chains import http
from listener.testing import FakeNode, logs_changed

FOLLOWER = "follower"


async def test_what_one_of_three_hides_is_found_and_it_is_named(node: FakeNode, tmp_path: Path) -> None:
    async with FakeNode(node.chain) as second, FakeNode(node.chain) as third:
        node.after = logs_changed(lambda _logs: [])
        urls = [node.ws_url, second.http_url, third.http_url]
        with capture_logs() as lines:
            async with following(write_config(tmp_path, urls, PINGS + BLOCKS, chain="quorum = 2"), FOLLOWER) as daemon:
                await daemon.walked(10)
                await node.mine(ping(), ping())
                await daemon.walked(11)
    assert [row["log_index"] for row in daemon.rows if row["rule"] == "pings"] == [0, 1]
    told = [line for line in lines if line["event"] == "endpoint.disagreed"]
    assert [line["endpoint"] for line in told] == [node.ws_url]


@pytest.mark.parametrize("lie", ["hidden", "truncated", "changed"])
async def test_two_that_do_not_agree_are_waited_for(node: FakeNode, tmp_path: Path, lie: str) -> None:
    changes = {
        "hidden": logs_changed(lambda _logs: []),
        "truncated": logs_changed(lambda logs: logs[:1]),
        "changed": logs_changed(lambda logs: [{**log, "data": "0x" + "00" * 31 + "07"} for log in logs]),
    }
    async with FakeNode(node.chain) as second:
        second.after = changes[lie]
        config = write_config(tmp_path, [node.ws_url, second.http_url], PINGS, chain="quorum = 2")
        with capture_logs() as lines:
            async with following(config, FOLLOWER) as daemon:
                await daemon.walked(10)
                await node.mine(ping(), ping())
                await daemon.until(lambda: "chain.endpoints_disagree" in [line["event"] for line in lines])
                assert daemon.cursor == 10
                second.after = None
                await daemon.walked(11)
    assert [row["log_index"] for row in daemon.rows] == [0, 1]


async def test_a_block_on_which_hashes_differ_is_waited_for(node: FakeNode, tmp_path: Path) -> None:
    async with FakeNode(copy.deepcopy(node.chain)) as second:
        config = write_config(tmp_path, [node.ws_url, second.ws_url], BLOCKS, chain="quorum = 2")
        with capture_logs() as lines:
            async with following(config, FOLLOWER) as daemon:
                await daemon.walked(10)
                second.chain._branch = "other"
                await second.mine()
                await node.mine()
                await daemon.until(lambda: "chain.endpoints_disagree" in [line["event"] for line in lines])
                assert daemon.cursor == 10
                second.chain = node.chain
                await daemon.walked(11)
    assert [bytes(row["block_hash"]) for row in daemon.rows] == [node.chain.head.hash]


async def test_one_that_rests_is_not_waited_for_where_the_others_are_enough(
    node: FakeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "CALL_TIMEOUT_S", 0.2)

    async def hang(_method: str, _params: list[object]) -> None:
        await asyncio.Event().wait()

    async with FakeNode(node.chain) as second, FakeNode(node.chain) as third:
        urls = [third.http_url, node.http_url, second.http_url]
        with capture_logs() as lines:
            async with following(write_config(tmp_path, urls, BLOCKS, chain="quorum = 2"), FOLLOWER) as daemon:
                await daemon.walked(10)
                third.before = hang
                await node.mine()
                await daemon.until(lambda: "endpoint.failed" in [line["event"] for line in lines])
                asked = third.count("eth_getBlockByNumber")
                for number in (12, 13):
                    await node.mine()
                    await daemon.walked(number)
                assert third.count("eth_getBlockByNumber") == asked


async def test_with_too_few_endpoints_left_the_chain_waits_and_says_so(node: FakeNode, tmp_path: Path) -> None:
    async with FakeNode(node.chain) as second:
        config = write_config(tmp_path, [node.ws_url, second.http_url], BLOCKS, chain="quorum = 2")
        with capture_logs() as lines:
            async with following(config, FOLLOWER) as daemon:
                await daemon.walked(10)
                await second.close()
                await node.mine(count=2)
                await daemon.until(lambda: "chain.unavailable" in [line["event"] for line in lines])
                assert daemon.cursor == 10
                await second.start()
                await daemon.walked(12)


async def test_a_long_gap_is_agreed_upon_too(node: FakeNode, tmp_path: Path) -> None:
    for _ in range(4):
        node.chain.add(ping(), count=50)
    node.chain.final = 200
    async with FakeNode(node.chain) as second, FakeNode(node.chain) as third:
        second.after = logs_changed(lambda _logs: [])
        urls = [second.http_url, node.http_url, third.http_url]
        config = write_config(tmp_path, urls, PINGS, chain="start = 1\nquorum = 2")
        async with following(config, FOLLOWER) as daemon:
            await daemon.walked(210)
    assert [number for number, _ in daemon.states()] == [60, 110, 160, 210]
