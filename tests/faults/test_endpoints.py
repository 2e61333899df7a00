"""Several endpoints of one chain: who fails, lags, lies or is another chain's is not used, and the others go on."""

import asyncio
import contextlib
import copy
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from following import BLOCKS, PINGS, Following, following, ping, write_config
from structlog.testing import capture_logs

from listener.chains import attendant
from listener.testing import FakeNode, NodeError, once
from listener.testing.chain import GENESIS_TIME

FOLLOWER = "follower"


def named(lines: list[Any], event: str) -> list[Any]:
    return [line for line in lines if line["event"] == event]


async def asked_again(daemon: Following, node: FakeNode, other: FakeNode) -> None:
    """Mine, until the logs of a block are read from this node."""

    async def once_more() -> bool:
        before = node.count("eth_getLogs")
        await other.mine(ping())
        await daemon.walked(other.chain.head.number)
        return node.count("eth_getLogs") > before

    for _ in range(200):
        if await once_more():
            return
    pytest.fail(f"{node.http_url} was not asked again")


async def test_an_endpoint_that_lags_is_not_asked_until_it_has_caught_up(node: FakeNode, tmp_path: Path) -> None:
    async with FakeNode(node.chain) as laggard:
        node.chain.add(count=30)
        laggard.lag = 20
        config = write_config(tmp_path, [laggard.http_url, node.ws_url], PINGS + BLOCKS, chain='max_lag = "5s"')
        with capture_logs() as lines:
            async with following(config, FOLLOWER) as daemon:
                await daemon.walked(20)
                await daemon.until(lambda: named(lines, "endpoint.lagging"))
                for _ in range(5):
                    await node.mine(ping())
                    await daemon.walked(node.chain.head.number)
                assert laggard.count("eth_getLogs") == 0
                laggard.lag = 0
                await daemon.until(lambda: named(lines, "endpoint.caught_up"))
                await asked_again(daemon, laggard, node)
    (told,) = named(lines, "endpoint.lagging")
    assert (told["endpoint"], told["behind_s"]) == (laggard.http_url, 20)
    numbers = [number for number, _ in daemon.states("blocks")]
    assert numbers == list(range(numbers[0], node.chain.head.number + 1))
    assert {state for _, state in daemon.states()} == {"pending"}


async def test_one_block_behind_is_no_lag_however_slow_the_chain(node: FakeNode, tmp_path: Path) -> None:
    def slow(method: str, _params: list[Any], result: Any) -> Any:
        if method != "eth_getBlockByNumber" or result is None:
            return result
        return {**result, "timestamp": hex(GENESIS_TIME + 60 * int(result["number"], 16))}

    async with FakeNode(node.chain) as second:
        second.lag = 1
        node.after = second.after = slow
        config = write_config(tmp_path, [second.http_url, node.http_url], BLOCKS, chain='max_lag = "1s"')
        with capture_logs() as lines:
            async with following(config, FOLLOWER) as daemon:
                await daemon.walked(9)
                for _ in range(5):
                    node.chain.add()
                    await daemon.walked(node.chain.head.number - 1)
                second.lag = 2
                await daemon.until(lambda: named(lines, "endpoint.lagging"))
                await daemon.walked(node.chain.head.number)
    assert [line["behind_s"] for line in named(lines, "endpoint.lagging")] == [120]


@pytest.mark.parametrize("transport", ["ws", "http"])
async def test_an_endpoint_that_becomes_another_chains_is_refused_once_and_the_others_go_on(
    node: FakeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    monkeypatch.setattr(attendant, "WRONG_CHAIN_S", 0.1)
    monkeypatch.setattr("listener.chains.websocket.WRONG_CHAIN_PAUSE_S", 0.1)
    async with FakeNode(node.chain) as second:
        first = node.ws_url if transport == "ws" else node.http_url
        config = write_config(tmp_path, [first, second.http_url], PINGS, chain='max_lag = "1s"')
        with capture_logs() as lines:
            async with following(config, FOLLOWER) as daemon:
                await daemon.walked(10)
                await node.mine(ping())
                await daemon.walked(11)
                node.chain_id = 10
                await node.hang_up(1001)  # a websocket is asked when it is opened, a URL now and then
                await daemon.until(lambda: named(lines, "endpoint.refused"))
                asked = node.count("eth_getLogs")
                for _ in range(4):
                    second.chain.add(ping())
                    await daemon.walked(second.chain.head.number)
                assert node.count("eth_getLogs") == asked
                node.chain_id = 31337
                await daemon.until(lambda: named(lines, "endpoint.accepted"))
                await asked_again(daemon, node, node)
    (refused,) = named(lines, "endpoint.refused")
    assert refused["log_level"] == "warning"
    assert refused["reason"].startswith(f"{first}: it is chain 10, not 31337")


async def test_a_node_on_a_fork_of_its_own_is_no_reorg(node: FakeNode, tmp_path: Path) -> None:
    async with FakeNode(copy.deepcopy(node.chain)) as forked:
        config = write_config(tmp_path, [forked.ws_url, node.ws_url], BLOCKS)
        with capture_logs() as lines:
            async with following(config, FOLLOWER) as daemon:
                await daemon.walked(10)
                node.chain.add(count=3)
                forked.chain = copy.deepcopy(node.chain)
                await forked.push(forked.chain.head)
                await daemon.walked(13)
                forked.chain.fork(2)
                await forked.mine(count=6)  # longer than the others' even
                await daemon.until(lambda: named(lines, "endpoint.disagreed"))
                for _ in range(5):
                    await node.mine()
                    await daemon.until(lambda: daemon.chain["hash"] == node.chain.head.hash)
    assert named(lines, "endpoint.disagreed")[0]["endpoint"] == forked.ws_url
    assert not named(lines, "chain.reorganised")
    assert daemon.states() == [(number, "pending") for number in range(11, 19)]


async def test_a_reorg_that_all_have_seen_is_believed(node: FakeNode, tmp_path: Path) -> None:
    async with FakeNode(copy.deepcopy(node.chain)) as second:
        config = write_config(tmp_path, [node.ws_url, second.http_url], BLOCKS)
        async with following(config, FOLLOWER) as daemon:
            await daemon.walked(10)
            await node.mine(count=2)
            second.chain = copy.deepcopy(node.chain)
            await daemon.walked(12)
            node.chain.fork(1)
            await node.mine(count=2)
            await daemon.until(lambda: node.count("eth_getBlockByNumber") > 5)
            assert daemon.states() == [(11, "pending"), (12, "pending")]
            second.chain = copy.deepcopy(node.chain)
            await daemon.until(lambda: daemon.chain["hash"] == node.chain.head.hash)
    assert daemon.states() == [(11, "pending"), (12, "cancelled"), (12, "pending"), (13, "pending")]


async def test_of_three_the_one_that_hangs_on_to_the_old_branch_is_outvoted(node: FakeNode, tmp_path: Path) -> None:
    async with FakeNode(copy.deepcopy(node.chain)) as stuck, FakeNode(node.chain) as third:
        config = write_config(tmp_path, [node.ws_url, stuck.http_url, third.http_url], BLOCKS)
        async with following(config, FOLLOWER) as daemon:
            await daemon.walked(10)
            await node.mine(count=2)
            stuck.chain = copy.deepcopy(node.chain)
            await daemon.walked(12)
            node.chain.fork(1)
            await node.mine(count=2)
            await daemon.until(lambda: daemon.chain["hash"] == node.chain.head.hash)


async def test_a_node_that_was_started_anew_halts_nothing_while_others_hold_the_chain(
    node: FakeNode, tmp_path: Path
) -> None:
    async with FakeNode(copy.deepcopy(node.chain)) as restarted:
        config = write_config(tmp_path, [restarted.ws_url, node.ws_url], BLOCKS)
        with capture_logs() as lines:
            async with following(config, FOLLOWER) as daemon:
                await daemon.walked(10)
                await node.mine(count=2)
                await daemon.walked(12)
                restarted.chain.__init__(3, name="new")  # type: ignore[misc]
                await restarted.push(restarted.chain.head)
                await daemon.until(lambda: named(lines, "endpoint.behind") or named(lines, "chain.halted"))
                node.chain.add(count=2)
                await daemon.walked(14)
    assert not named(lines, "chain.halted")
    assert daemon.states() == [(number, "pending") for number in range(11, 15)]


@pytest.mark.parametrize(
    "broken",
    [
        web.Response(status=200, text="<html>Sign in</html>"),
        web.Response(status=502, text="<html>Bad gateway</html>"),
        web.Response(status=403, body=b'{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no such key"}}'),
    ],
    ids=["html", "502", "403"],
)
async def test_an_endpoint_that_fails_rests_and_is_preferred_again_when_it_is_well(
    node: FakeNode, tmp_path: Path, broken: web.Response
) -> None:
    async with FakeNode(node.chain) as second:
        config = write_config(tmp_path, [node.http_url, second.http_url], PINGS + BLOCKS)
        with capture_logs() as lines:
            async with following(config, FOLLOWER) as daemon:
                await daemon.walked(10)
                node.http = broken
                for _ in range(5):
                    node.chain.add(ping())
                    await daemon.walked(node.chain.head.number)
                assert second.count("eth_getLogs") >= 4
                node.http = None
                await daemon.until(lambda: named(lines, "endpoint.recovered"))
                await asked_again(daemon, node, node)
    assert not named(lines, "chain.unavailable")
    assert daemon.states("blocks") == [(number, "pending") for number in range(11, node.chain.head.number + 1)]


async def test_a_subscription_that_is_refused_once_after_a_loss_is_not_lost(node: FakeNode, tmp_path: Path) -> None:
    with capture_logs() as lines:
        async with following(write_config(tmp_path, [node.ws_url], BLOCKS), FOLLOWER) as daemon:
            await daemon.walked(10)
            await node.mine()
            await daemon.walked(11)
            node.before = once("eth_subscribe", NodeError(-32000, "too many subscriptions"))
            await node.hang_up(1011)
            await daemon.until(lambda: len(named(lines, "websocket.opened")) == 2)
            await daemon.stay(11)
            for number in range(12, 15):
                await node.mine()
                await daemon.stay(number)
            assert ("eth_getBlockByNumber", ["0xe", False]) not in node.calls, "what is pushed is not asked for"
    assert node.count("eth_subscribe") == 3


@pytest.mark.parametrize("better", ["ws", "http", "a ws that opens late"])
async def test_the_gap_after_a_backup_ends_at_the_best_head_not_at_a_laggards(
    node: FakeNode, tmp_path: Path, better: str
) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS)
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(10)
    with contextlib.closing(sqlite3.connect(daemon.path)) as connection, connection:
        connection.execute("INSERT INTO facts VALUES ('gap l2', 'head')")  # as --resume-at latest does
    node.chain.add(count=10)
    async with FakeNode(node.chain) as laggard:
        laggard.lag = 8

        async def open_late(method: str, _params: list[Any]) -> None:
            # It has told its head when it began, and again as the end of the gap.
            while method == "eth_subscribe" and laggard.count("eth_getBlockByNumber") < 2:  # noqa: ASYNC110 - it is asked
                await asyncio.sleep(0.01)

        if "late" in better:
            node.before = open_late
        url = node.http_url if better == "http" else node.ws_url
        write_config(tmp_path, [laggard.http_url, url], BLOCKS)
        with capture_logs() as lines:
            async with following(config, FOLLOWER) as daemon:
                await daemon.walked(12)
                laggard.lag = 0
                await node.mine()
                await daemon.walked(21)
    assert [line["up_to_block"] for line in named(lines, "chain.gap_expires")] == [20]
    assert daemon.states() == [*((number, "expired") for number in range(11, 21)), (21, "pending")]
