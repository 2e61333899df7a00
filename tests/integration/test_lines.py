"""A websocket ends in many ways; each time data flows again, and the gap is filled in order."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from following import BLOCKS, PINGS, Following, following, ping, write_config
from structlog.testing import capture_logs

from listener.chains import http, websocket
from listener.devnet.aggregator import Aggregator
from listener.testing import FakeNode, NodeError

FOLLOWER = "follower"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "CALL_TIMEOUT_S", 2.0)  # a call that is on its way when a node goes may hang
    monkeypatch.setattr(websocket, "CALL_TIMEOUT_S", 0.3)
    monkeypatch.setattr(websocket, "PING_S", 0.2)
    monkeypatch.setattr(websocket, "LONGEST_PAUSE_S", 0.2)


async def _hang_up(node: FakeNode, code: int) -> None:
    await node.hang_up(code)


async def _reset(node: FakeNode) -> None:
    node.reset()


async def _fall_silent(node: FakeNode) -> None:
    node.silent = True


async def _fall_dead(node: FakeNode) -> None:
    node.silent, node.pongs = True, False


async def _restart(node: FakeNode) -> None:
    await node.close()
    await node.start()


BREAKS: dict[str, Callable[[FakeNode], Awaitable[None]]] = {
    "1000": lambda node: _hang_up(node, 1000),
    "1001": lambda node: _hang_up(node, 1001),
    "1011": lambda node: _hang_up(node, 1011),
    "reset": _reset,
    "silent": _fall_silent,
    "dead": _fall_dead,
    "restarted": _restart,
}


@pytest.mark.parametrize("way", BREAKS)
async def test_data_flows_again_and_the_gap_is_filled_in_order(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path, way: str
) -> None:
    config = write_config(tmp_path, [node.ws_url], PINGS + BLOCKS, aggregator=aggregator.url, chain='silence = "1s"')
    with capture_logs() as lines:
        async with following(config) as daemon:
            await daemon.walked(10)
            await node.mine(ping())
            await daemon.walked(11)
            await BREAKS[way](node)
            node.chain.add(ping(), count=3)
            opened = node.connections
            await daemon.until(lambda: node.connections > opened or daemon.cursor == 14)
            node.silent, node.pongs = False, True
            await daemon.walked(14)
            await daemon.until(lambda: node.lines == 1)
            await node.mine(ping())
            await daemon.until(lambda: len(aggregator.accepted) == 8)
    assert [row["block_number"] for row in daemon.rows] == [11, 11, 12, 13, 14, 14, 15, 15]
    assert len({call.proof_of_task for call in aggregator.accepted}) == 8
    assert [line["event"] for line in lines].count("websocket.lost") == 1


async def test_a_line_on_which_no_head_comes_is_replaced(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS, chain='silence = "1s"')
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine()
        await daemon.walked(11)
        for _ in range(3):  # calls are answered, but the subscription is dead
            node.chain.add()
            await daemon.walked(node.chain.head.number)
        await daemon.until(lambda: node.connections >= 2 and node.lines == 1)
        await node.mine()
        await daemon.walked(15)


async def test_a_line_without_news_is_left_alone(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS, chain='silence = "1s"')
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(10)
        asked = node.count("eth_getBlockByNumber")
        await daemon.until(lambda: node.count("eth_getBlockByNumber") >= asked + 2)
    assert node.connections == 1


async def test_frames_that_nobody_asked_for_are_harmless(node: FakeNode, tmp_path: Path) -> None:
    node.strays = True
    async with following(write_config(tmp_path, [node.ws_url], PINGS + BLOCKS), FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine(ping(), count=3)
        await daemon.walked(13)
    assert node.connections == 1
    assert daemon.states() == [(11, "pending"), (12, "pending"), (13, "pending"), (13, "pending")]


async def test_a_head_that_is_no_header_only_wakes(node: FakeNode, tmp_path: Path) -> None:
    async with following(write_config(tmp_path, [node.ws_url], BLOCKS), FOLLOWER) as daemon:
        await daemon.walked(10)
        for result in (None, "0x1", [], {"number": 12}, {"number": None, "hash": 5, "parentHash": {}}):
            node.chain.add()
            params = {"subscription": "0x1", "result": result}
            await node._send_all(json.dumps({"method": "eth_subscription", "params": params}).encode())
            await daemon.walked(node.chain.head.number)
    assert daemon.states() == [(number, "pending") for number in range(11, 16)]
    assert node.connections == 1


async def test_a_subscription_that_is_refused_at_first_is_made_in_the_end(node: FakeNode, tmp_path: Path) -> None:
    refused = 0

    async def refuse(method: str, _params: list[Any]) -> None:
        nonlocal refused
        if method == "eth_subscribe" and refused < 3:
            refused += 1
            raise NodeError(-32000, "too many subscriptions")

    node.before = refuse
    with capture_logs() as lines:
        async with following(write_config(tmp_path, [node.ws_url], BLOCKS), FOLLOWER) as daemon:
            await daemon.walked(10)
            await daemon.until(lambda: node.lines == 1)
            await node.mine()
            await daemon.walked(11)
    assert node.connections == 4
    warned = [line for line in lines if line["event"] == "websocket.connect_failed" and line["log_level"] == "warning"]
    assert len(warned) == 1
    assert "too many subscriptions" in warned[0]["reason"]


@pytest.mark.parametrize("transport", ["ws", "http"])
async def test_a_reply_of_more_than_a_mebibyte_is_read(
    node: FakeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    monkeypatch.setattr(websocket, "CALL_TIMEOUT_S", 20.0)  # a busy machine takes its time
    monkeypatch.setattr(websocket, "PING_S", 20.0)

    def padded(method: str, _params: list[Any], result: Any) -> Any:
        return {**result, "extraData": "0x" + "00" * 600_000} if method == "eth_getBlockByNumber" else result

    node.after = padded
    url = node.ws_url if transport == "ws" else node.http_url
    async with following(write_config(tmp_path, [url], PINGS), FOLLOWER) as daemon:
        await daemon.walked(10)
        node.chain.add(*[ping(value=n) for n in range(4_000)])  # 1.7 MB of logs
        node.chain.add()
        await node.push(node.chain.head)
        await daemon.walked(12)
    assert len(daemon.rows) == 4_000
    assert node.connections == (1 if transport == "ws" else 0)


@pytest.mark.parametrize("transport", ["ws", "http"])
async def test_an_endpoint_of_another_chain_is_refused_by_its_number(tmp_path: Path, transport: str) -> None:
    async with FakeNode(chain_id=10) as node:
        await node.mine(count=3)
        url = node.ws_url if transport == "ws" else node.http_url
        with capture_logs() as lines:
            async with following(write_config(tmp_path, [url], BLOCKS), FOLLOWER) as daemon:
                await daemon.until(lambda: any("it is chain 10, not 31337" in str(line) for line in lines))
                await asyncio.sleep(0.2)
                assert daemon.cursor == -2
    assert all(method == "eth_chainId" for method, _ in node.calls)


async def test_an_outage_is_one_warning_and_its_end_one_line(node: FakeNode, tmp_path: Path) -> None:
    with capture_logs() as lines:
        async with following(write_config(tmp_path, [node.http_url], BLOCKS), FOLLOWER) as daemon:
            await daemon.walked(10)
            await node.close()
            await daemon.until(lambda: [line["event"] for line in lines].count("chain.unavailable") >= 2)
            await node.start()
            await node.mine()
            await daemon.until(lambda: any(line["event"] == "chain.available" for line in lines))
    levels = [line["log_level"] for line in lines if line["event"] == "chain.unavailable"]
    assert levels[0] == "warning"
    assert set(levels[1:]) == {"debug"}
    assert [line["event"] for line in lines].count("chain.available") == 1


# Several endpoints


async def until_left_alone(daemon: Following, node: FakeNode, second: FakeNode) -> None:
    """Mine until a block with a log is walked without asking the second node; one that failed rests for a while."""
    for _ in range(100):
        asked = second.count("eth_getLogs")
        await node.mine(ping())
        await daemon.walked(node.chain.head.number)
        if second.count("eth_getLogs") == asked:
            return
        await asyncio.sleep(0.05)
    pytest.fail("the better endpoint was not used again")


async def test_a_dead_websocket_is_replaced_by_http_and_used_again_when_it_is_back(
    node: FakeNode, tmp_path: Path
) -> None:
    async with FakeNode(node.chain) as second:
        config = write_config(tmp_path, [node.ws_url, second.http_url], PINGS + BLOCKS)
        async with following(config, FOLLOWER) as daemon:
            await daemon.walked(10)
            await node.mine(ping())
            await daemon.walked(11)
            await node.close()
            second.chain.add(ping(), count=3)
            await daemon.walked(14)
            assert second.count("eth_getLogs") >= 1
            await node.start()
            await daemon.until(lambda: node.lines == 1)
            await until_left_alone(daemon, node, second)
    head = node.chain.head.number
    assert daemon.states("blocks") == [(number, "pending") for number in range(11, head + 1)]
    assert [number for number, _ in daemon.states("pings")] == [11, 14, *range(15, head + 1)]


async def test_a_websocket_that_is_open_but_answers_nothing_is_replaced_by_http(node: FakeNode, tmp_path: Path) -> None:
    async with FakeNode(node.chain) as second:
        config = write_config(tmp_path, [node.ws_url, second.http_url], PINGS + BLOCKS, chain='silence = "1s"')
        async with following(config, FOLLOWER) as daemon:
            await daemon.walked(10)
            node.silent = True
            for _ in range(2):
                node.chain.add(ping(), count=2)
                await daemon.walked(node.chain.head.number)
            node.silent = False
            await daemon.until(lambda: node.connections >= 2 and node.lines == 1)
            await until_left_alone(daemon, node, second)
    assert daemon.states("blocks") == [(number, "pending") for number in range(11, node.chain.head.number + 1)]


async def test_two_endpoints_of_one_host_with_different_keys_rest_apart(tmp_path: Path) -> None:
    async with FakeNode() as node:
        await node.mine(count=3)
        dead = node.http_url.replace(str(node.port), "9")
        config = write_config(
            tmp_path, [f"{dead}/v1/aaaaaaaaaaaaaaaaaaaa1", f"{node.http_url}/v1/bbbbbbbbbbbbbbbbb2"], BLOCKS
        )
        async with following(config, FOLLOWER) as daemon:
            await daemon.walked(3)
            await node.mine()
            await daemon.walked(4)


# Stopping


async def test_stopping_waits_for_no_node(node: FakeNode, tmp_path: Path) -> None:
    node.chain.add(count=300)

    async def unanswered(method: str, params: list[Any]) -> None:
        if method == "eth_getBlockByNumber" and params[0] == "0x64":
            await asyncio.Event().wait()

    node.before = unanswered
    with capture_logs() as lines:
        async with following(write_config(tmp_path, [node.http_url], BLOCKS, chain="start = 1"), FOLLOWER) as daemon:
            await daemon.until(lambda: ("eth_getBlockByNumber", ["0x64", False]) in node.calls)
    assert "stage.cut_off" not in [line["event"] for line in lines]
    node.before = None
    async with following(daemon.config, FOLLOWER) as daemon:
        await daemon.walked(310)
    assert [number for number, _ in daemon.states()] == list(range(1, 311))
