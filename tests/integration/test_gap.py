"""A long gap is read in ranges, as wide as the node allows; the cursor never passes what was not read."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from following import BLOCKS, PINGS, Following, following, ping, write_config

from listener.testing import FakeNode, NodeError, logs_changed, ranges_up_to

FOLLOWER = "follower"
TENTHS = BLOCKS.replace("every = 1", "every = 10")
EXPECTED_PINGS = [(50, 0), (50, 1), (137, 0), (138, 0), (399, 0), (455, 0)]


@pytest.fixture(autouse=True)
def _long(node: FakeNode) -> None:
    """Ten blocks were there before; up to 430 is final now, up to 460 the chain goes."""
    node.chain.add(ping(), ping(), count=40)
    node.chain.add(ping(), count=87)
    node.chain.add(ping())
    node.chain.add(ping(), count=261)
    node.chain.add(ping(), count=56)
    node.chain.add(count=5)
    node.chain.final = 430


def check(daemon: Following, node: FakeNode) -> None:
    """All of it is there once and in order."""
    assert daemon.states("blocks") == [(number, "pending") for number in range(20, 461, 10)]
    pings = [(row["block_number"], row["log_index"]) for row in daemon.rows if row["rule"] == "pings"]
    assert pings == EXPECTED_PINGS
    numbers = [row["block_number"] for row in daemon.rows]
    assert numbers == sorted(numbers)
    assert all(bytes(row["block_hash"]) == node.chain.blocks[row["block_number"]].hash for row in daemon.rows)


def widths(node: FakeNode) -> list[int]:
    """The width of each range that was asked for."""
    queries = [params[0] for method, params in node.calls if method == "eth_getLogs"]
    return [int(q["toBlock"], 16) - int(q["fromBlock"], 16) + 1 for q in queries if "fromBlock" in q]


@pytest.mark.parametrize("transport", ["ws", "http"])
async def test_a_long_gap_is_read_in_few_ranges(node: FakeNode, tmp_path: Path, transport: str) -> None:
    url = node.ws_url if transport == "ws" else node.http_url
    async with following(write_config(tmp_path, [url], PINGS + TENTHS, chain="start = 11"), FOLLOWER) as daemon:
        await daemon.walked(460)
    check(daemon, node)
    assert len(widths(node)) <= 4
    assert max(widths(node)) > 128


async def test_without_event_rules_a_gap_asks_for_no_logs_at_all(node: FakeNode, tmp_path: Path) -> None:
    async with following(write_config(tmp_path, [node.ws_url], TENTHS, chain="start = 11"), FOLLOWER) as daemon:
        await daemon.walked(460)
    assert daemon.states("blocks") == [(number, "pending") for number in range(20, 461, 10)]
    assert node.count("eth_getLogs") == 0


@pytest.mark.parametrize(
    ("width", "message", "code"),
    [
        (100, "query returned more than 10000 results", -32005),
        (50, "exceed maximum block range: 50", -32000),
        (10, "Under the Free tier plan, you can make eth_getLogs requests with up to a 10 block range.", -32600),
        (3, "block range is too wide", -32602),
        (1, "eth_getLogs is limited to 0 - 1 blocks range", -32614),
    ],
)
async def test_a_range_is_split_until_the_node_takes_it(
    node: FakeNode, tmp_path: Path, width: int, message: str, code: int
) -> None:
    node.before = ranges_up_to(width, message, code)
    async with following(write_config(tmp_path, [node.ws_url], PINGS + TENTHS, chain="start = 11"), FOLLOWER) as daemon:
        await daemon.walked(460)
    check(daemon, node)


async def test_a_range_that_takes_too_long_is_split_too(
    node: FakeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.chains.http.CALL_TIMEOUT_S", 0.1)

    async def slow(method: str, params: list[Any]) -> None:
        query = params[0] if method == "eth_getLogs" else {}
        if "fromBlock" in query and int(query["toBlock"], 16) - int(query["fromBlock"], 16) >= 60:
            await asyncio.Event().wait()

    node.before = slow
    async with following(
        write_config(tmp_path, [node.http_url], PINGS + TENTHS, chain="start = 11"), FOLLOWER
    ) as daemon:
        await daemon.walked(460)
    check(daemon, node)


async def test_the_cursor_waits_where_the_node_reads_no_further(node: FakeNode, tmp_path: Path) -> None:
    async def broken(method: str, params: list[Any]) -> None:
        if method == "eth_getLogs" and "fromBlock" in params[0] and int(params[0]["toBlock"], 16) >= 137:
            raise NodeError(-32603, "internal error")

    node.before = broken
    async with following(write_config(tmp_path, [node.ws_url], PINGS + TENTHS, chain="start = 11"), FOLLOWER) as daemon:
        await daemon.walked(136)
        asked = node.count("eth_getLogs")
        await daemon.until(lambda: node.count("eth_getLogs") > asked + 2)
        assert daemon.cursor == 136
        node.before = None
        await daemon.walked(460)
    check(daemon, node)


@pytest.mark.parametrize(
    "foreign", [{"blockHash": "0x" + "77" * 32}, {"blockNumber": "0x5"}], ids=lambda f: next(iter(f))
)
async def test_logs_that_stand_in_no_block_of_the_range_are_not_taken(
    node: FakeNode, tmp_path: Path, foreign: dict[str, str]
) -> None:
    node.after = logs_changed(lambda logs: [{**log, **foreign} for log in logs])
    async with following(write_config(tmp_path, [node.ws_url], PINGS + TENTHS, chain="start = 11"), FOLLOWER) as daemon:
        await daemon.until(lambda: node.count("eth_getLogs") >= 3)
        assert daemon.states("pings") == []
        assert daemon.cursor < 50
        node.after = None
        await daemon.walked(460)
    check(daemon, node)


async def test_a_storm_of_429_is_waited_out(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.http_url], PINGS + TENTHS, chain="start = 11")
    node.http = web.Response(status=429, text="<html>Too many requests</html>", headers={"Retry-After": "1"})
    async with following(config, FOLLOWER) as daemon:
        await asyncio.sleep(0.5)
        node.http = None
        await daemon.walked(136)
        node.http = web.Response(
            status=429, body=b'{"jsonrpc":"2.0","id":1,"error":{"code":-32005,"message":"slow down"}}'
        )
        await asyncio.sleep(0.5)
        node.http = web.Response(status=200, text="<html>Sign in</html>")
        await asyncio.sleep(0.5)
        node.http = None
        await daemon.walked(460)
    check(daemon, node)


async def test_a_gap_over_several_restarts_has_every_trigger_once(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.http_url], PINGS + TENTHS, chain="start = 11")
    node.before = ranges_up_to(7)
    for stop_at in (11, 60, 140, 300, 455, 460):
        async with following(config, FOLLOWER) as daemon:
            await daemon.walked(stop_at)
    check(daemon, node)
