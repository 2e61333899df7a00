"""What an endpoint leaves out at first is found once its block is final."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from following import PINGS, Following, following, ping, write_config

from listener.devnet.aggregator import Aggregator
from listener.follower import audit, finality
from listener.testing import FakeNode
from listener.testing.faults import NodeError, logs_changed


@pytest.fixture(autouse=True)
def _sweeping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the sweep look at once, at whatever is final."""
    monkeypatch.setattr(finality, "EVERY_S", 0.0)
    monkeypatch.setattr(audit, "LOOK_S", 0.02)
    monkeypatch.setattr(audit, "LONGEST_WAIT_S", 0.0)
    monkeypatch.setattr(audit, "REST_S", 0.05)


def hide(node: FakeNode, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = lambda _logs: []) -> None:
    node.after = logs_changed(change)


async def finalise(node: FakeNode, run: Following) -> int:
    """Make all that is mined final, and wait until the sweep has been there."""
    final = node.chain.head.number
    await run.walked(final)
    node.chain.final = final
    await node.mine(count=2)
    await run.walked(final + 2)
    await node.mine()
    return final


async def audited(run: Following, number: int) -> None:
    await run.until(lambda: run.chain.get("audited", -1) >= number, f"audited to {number}, it is {run.chain}")


def lie(node: FakeNode) -> None:
    """Give every header a bloom of zeros, on blocks that used no gas, as it says."""
    blank = {"logsBloom": "0x" + "0" * 512, "gasUsed": "0x0"}

    def after(method: str, _params: list[Any], result: Any) -> Any:
        return {**result, **blank} if method.startswith("eth_getBlockBy") and result else result

    node.after = after


async def test_a_log_that_was_hidden_at_first_is_executed_and_sent_once(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    rules = PINGS + 'max_age = "1h"\n'  # the chain's blocks are of 2023
    config = write_config(tmp_path, [node.http_url], rules, aggregator=aggregator.url)
    async with following(config) as run:
        await run.walked(10)
        hide(node)
        await node.mine(ping())
        await run.walked(11)
        assert run.rows == []
        node.after = None
        await audited(run, await finalise(node, run))
        await run.until(lambda: run.states() == [(11, "accepted")])
        assert abs(run.rows[0]["ages_from"] - time.time()) < 60
        await audited(run, await finalise(node, run))
        assert run.states() == [(11, "accepted")]


async def test_logs_that_were_cut_off_are_found_and_those_that_were_there_stay_as_they_are(
    node: FakeNode, tmp_path: Path
) -> None:
    async with following(write_config(tmp_path, [node.http_url], PINGS), "follower") as run:
        await run.walked(10)
        hide(node, lambda logs: logs[:1])
        await node.mine(ping(1), ping(2), ping(3))
        await run.walked(11)
        assert [row["log_index"] for row in run.rows] == [0]
        node.after = None
        await audited(run, await finalise(node, run))
        assert [row["log_index"] for row in run.rows] == [0, 1, 2]


async def test_an_audit_that_lacks_logs_which_we_have_changes_nothing(node: FakeNode, tmp_path: Path) -> None:
    async with following(write_config(tmp_path, [node.http_url], PINGS), "follower") as run:
        await run.walked(10)
        await node.mine(ping())
        await run.until(lambda: run.states() == [(11, "pending")])
        hide(node)
        await audited(run, await finalise(node, run))
        assert run.states() == [(11, "pending")]


async def test_a_bloom_that_lies_is_found_and_none_is_believed_again_not_even_after_a_restart(
    node: FakeNode, tmp_path: Path
) -> None:
    config = write_config(tmp_path, [node.http_url], PINGS)
    lie(node)
    async with following(config, "follower") as run:
        await run.walked(10)
        await node.mine(ping())
        await run.walked(11)
        assert run.rows == []
        await audited(run, await finalise(node, run))
        assert run.states() == [(11, "pending")]
        assert run.chain["bloom_denied"]
        found = (await node.mine(ping())).number
        await run.until(lambda: (found, "pending") in run.states())
        assert run.chain["audited"] < found
    found = (await node.mine(ping())).number
    async with following(config, "follower") as run:
        await run.until(lambda: (found, "pending") in run.states())
        assert run.chain["audited"] < found


async def test_logs_of_a_fork_add_nothing_and_are_read_again(node: FakeNode, tmp_path: Path) -> None:
    async with following(write_config(tmp_path, [node.http_url], PINGS), "follower") as run:
        await run.walked(10)
        hide(node)
        await node.mine(ping())
        await run.walked(11)
        hide(node, lambda logs: [{**log, "blockHash": "0x" + "ab" * 32} for log in logs])
        final = await finalise(node, run)
        asked = node.count("eth_getLogs")
        await run.until(lambda: node.count("eth_getLogs") > asked + 3)
        assert run.rows == []
        node.after = None
        await audited(run, final)
        assert run.states() == [(11, "pending")]


async def test_an_audit_that_cannot_be_read_does_not_stop_the_walk(node: FakeNode, tmp_path: Path) -> None:
    async def refuse(method: str, params: list[Any]) -> None:
        if method == "eth_getLogs" and "fromBlock" in params[0]:
            raise NodeError(-32000, "no")

    async with following(write_config(tmp_path, [node.http_url], PINGS), "follower") as run:
        await run.walked(10)
        node.before = refuse
        await node.mine(ping())
        final = await finalise(node, run)
        await node.mine(ping())
        await run.until(lambda: len(run.rows) == 2)
        assert run.chain["audited"] < final
        node.before = None
        await audited(run, final)
        assert len(run.rows) == 2


def swept(node: FakeNode) -> list[int]:
    """Return how many blocks each range held that was read."""
    asked = [params[0] for method, params in node.calls if method == "eth_getLogs" and "fromBlock" in params[0]]
    return [int(each["toBlock"], 16) - int(each["fromBlock"], 16) + 1 for each in asked]


async def test_a_sweep_over_many_logs_reads_fewer_blocks_at_once(node: FakeNode, tmp_path: Path) -> None:
    async with following(write_config(tmp_path, [node.ws_url], PINGS), "follower") as run:
        await run.walked(10)
        for _ in range(64):
            await node.mine(*(ping(value) for value in range(30)))
        await audited(run, await finalise(node, run))
    assert swept(node)[:4] == [32, 16, 8, 8]


async def test_the_sweep_waits_while_the_walk_is_far_behind(node: FakeNode, tmp_path: Path) -> None:
    refused = 0

    async def refuse(method: str, params: list[Any]) -> None:
        nonlocal refused
        if method == "eth_getBlockByNumber" and params[0] not in {"latest", "finalized"} and int(params[0], 16) > 42:
            refused += 1
            raise NodeError(-32000, "not now")

    async with following(write_config(tmp_path, [node.http_url], PINGS), "follower") as run:
        await run.walked(10)
        node.before = refuse
        node.chain.final = 30
        await node.mine(count=200)
        await run.walked(42)
        first = refused
        await run.until(lambda: refused > first + 100)
        assert (run.cursor, run.chain["audited"], swept(node)) == (42, 10, [])
        node.before = None
        await audited(run, 30)


async def test_a_log_that_the_first_endpoint_never_gives_is_found_at_another(node: FakeNode, tmp_path: Path) -> None:
    async with FakeNode(node.chain) as other:
        hide(node)
        async with following(write_config(tmp_path, [node.http_url, other.http_url], PINGS), "follower") as run:
            await run.walked(10)
            await node.mine(ping())
            await run.walked(11)
            assert run.rows == []
            await audited(run, await finalise(node, run))
            assert run.states() == [(11, "pending")]
            assert (other.count("eth_getLogs"), swept(node)) == (len(swept(other)), [])


async def test_the_first_endpoint_looks_again_where_the_other_read_the_logs(node: FakeNode, tmp_path: Path) -> None:
    async def refuse(method: str, params: list[Any]) -> None:
        if method == "eth_getLogs" and "blockHash" in params[0]:
            raise NodeError(-32000, "not now")

    async with FakeNode(node.chain) as other:
        node.before = refuse
        hide(other)
        async with following(write_config(tmp_path, [node.http_url, other.http_url], PINGS), "follower") as run:
            await run.walked(10)
            await node.mine(ping())
            await run.walked(11)
            await audited(run, await finalise(node, run))
            assert run.states() == [(11, "pending")]
            assert (len(swept(node)) > 0, swept(other)) == (True, [])


async def test_another_endpoint_that_is_on_a_fork_does_not_stop_the_sweep(node: FakeNode, tmp_path: Path) -> None:
    async with FakeNode(node.chain) as other:
        hide(node)
        hide(other, lambda logs: [{**log, "blockHash": "0x" + "ab" * 32} for log in logs])
        async with following(write_config(tmp_path, [node.http_url, other.http_url], PINGS), "follower") as run:
            await run.walked(10)
            await node.mine(ping())
            await run.walked(11)
            node.after = None
            await audited(run, await finalise(node, run))
            assert run.states() == [(11, "pending")]
            assert len(swept(other)) > 0
