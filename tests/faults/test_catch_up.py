"""After an outage a rule runs all that it missed, only the newest, or nothing, as ``catch_up`` says."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from following import BLOCKS, PINGS, Following, following, ping, write_config
from structlog.testing import capture_logs

from listener.devnet.aggregator import Aggregator
from listener.testing import FakeNode, NodeError

FOLLOWER = "follower"
LATEST = BLOCKS + 'catch_up = "latest"\ncatch_up_after = "10s"\n'  # the scripted chain's blocks are a second apart
NONE = LATEST.replace('"latest"', '"none"')


async def missed(node: FakeNode, config: Path, count: int) -> None:
    """Follow up to block 11, and be away while so many blocks come."""
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine()
        await daemon.walked(11)
    node.chain.add(count=count)


def fates(daemon: Following, rule: str = "blocks") -> dict[str, list[int]]:
    """The numbers of the rows' blocks by what became of them; what may not run yet is ``held``."""
    found: dict[str, list[int]] = {}
    for row in daemon.rows:
        if row["rule"] == rule:
            state = "held" if row["state"] == "pending" and row["not_before"] > 2**61 else row["state"]
            found.setdefault(state, []).append(row["block_number"])
    return found


@pytest.mark.parametrize("final", [0, 90], ids=["block by block", "in ranges"])
@pytest.mark.parametrize(
    "case",
    [
        (BLOCKS, [], range(11, 112)),
        (LATEST, range(12, 100), [11, *range(100, 112)]),
        (NONE, range(12, 101), [11, *range(101, 112)]),
    ],
    ids=["all", "latest", "none"],
)
async def test_after_an_outage_what_the_rule_wants_is_executed_and_all_else_is_a_row_with_its_reason(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path, case: Any, final: int
) -> None:
    rule, expired, accepted = case
    config = write_config(tmp_path, [node.ws_url], rule, aggregator=aggregator.url)
    await missed(node, config, 100)
    node.chain.final = final
    with capture_logs() as lines:
        async with following(config) as daemon:
            await daemon.walked(111)
            await daemon.until(lambda: len(aggregator.accepted) == len(accepted))
            await daemon.until(lambda: "ready" not in fates(daemon))
    assert fates(daemon).get("expired", []) == list(expired)
    assert sorted(fates(daemon)["accepted"]) == list(accepted)
    assert all("catch_up" in row["error"] for row in daemon.rows if row["state"] == "expired")
    told = [line for line in lines if line["event"] == "triggers.expired"]
    assert sum(line["count"] for line in told) == len(expired)
    assert {line["log_level"] for line in told} <= {"warning"}


async def test_a_crash_in_the_middle_still_ends_with_exactly_the_newest(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.http_url], LATEST)
    await missed(node, config, 100)
    limit = 0

    async def breaks_off(method: str, params: list[Any]) -> None:
        if method == "eth_getBlockByNumber" and params[0].startswith("0x") and int(params[0], 16) > limit:
            raise NodeError(-32000, "not now")

    node.before = breaks_off
    for limit in (43, 75):
        async with following(config, FOLLOWER) as daemon:
            await daemon.walked(limit)
        assert fates(daemon)["held"] == [limit]
    node.before = None
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(111)
    assert fates(daemon) == {"pending": [11, *range(100, 112)], "expired": list(range(12, 100))}


async def test_what_was_held_back_runs_when_the_chain_has_no_more_blocks_after_a_restart(
    node: FakeNode, tmp_path: Path
) -> None:
    config = write_config(tmp_path, [node.http_url], LATEST)
    await missed(node, config, 100)

    async def breaks_off(method: str, params: list[Any]) -> None:
        if method == "eth_getBlockByNumber" and params[0].startswith("0x") and int(params[0], 16) > 43:
            raise NodeError(-32000, "not now")

    node.before = breaks_off
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(43)
    assert fates(daemon)["held"] == [43]
    node.before = None
    node.chain.fork(68)  # a node that was put back to block 43, which is its head for good
    async with following(config, FOLLOWER) as daemon:
        await daemon.until(lambda: "held" not in fates(daemon))
    assert fates(daemon)["pending"] == [11, 43]


async def test_a_reorg_during_the_catch_up_leaves_the_newest_of_the_new_branch(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.http_url], LATEST)
    await missed(node, config, 100)
    asked = 0

    async def forks_meanwhile(method: str, _params: list[Any]) -> None:
        nonlocal asked
        asked += method == "eth_getBlockByNumber"
        if asked == 50:
            asked = 1000
            node.chain.fork(80)
            node.chain.add(count=85)

    node.before = forks_meanwhile
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(116)
        assert asked > 1000
    on_chain = {bytes(row["block_hash"]) for row in daemon.rows if row["canonical"]}
    assert on_chain == {block.hash for block in node.chain.blocks[11:]}
    alive = [row["block_number"] for row in daemon.rows if row["state"] == "pending"]
    assert alive == [11, *range(105, 117)]


async def test_a_steady_chain_and_event_rules_know_nothing_of_it(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url], PINGS + LATEST)
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(10)
        for number in range(11, 30):
            await node.mine(ping())
            await daemon.walked(number)
    node.chain.add(ping(), count=100)
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(129)
    assert fates(daemon, "pings") == {"pending": [*range(11, 30), 129]}
    assert fates(daemon)["expired"] == list(range(30, 118))


async def test_too_old_is_too_old_also_for_the_newest(node: FakeNode, aggregator: Aggregator, tmp_path: Path) -> None:
    """The scripted chain is of 2023: whatever has a ``max_age`` has passed it."""
    config = write_config(tmp_path, [node.ws_url], LATEST + 'max_age = "1d"\n', aggregator=aggregator.url)
    await missed(node, config, 30)
    async with following(config) as daemon:
        await daemon.walked(41)
        await daemon.until(lambda: set(fates(daemon)) == {"expired"})
    reasons = {row["block_number"]: row["error"] for row in daemon.rows}
    assert "catch_up" in reasons[28]
    assert "max_age" in reasons[29] + reasons[30]
    assert "catch_up" not in reasons[30]


async def test_late_is_reckoned_from_the_newest_head_that_was_pushed_not_from_the_end_of_a_step(
    node: FakeNode, tmp_path: Path
) -> None:
    go_on = asyncio.Event()

    async def stall(method: str, _params: list[Any]) -> None:
        if method == "eth_getLogs":
            await go_on.wait()

    async with following(write_config(tmp_path, [node.ws_url], PINGS + NONE), FOLLOWER) as daemon:
        await daemon.walked(10)
        node.before = stall
        await node.mine(ping())
        await daemon.until(lambda: node.count("eth_getLogs") == 1)
        await node.mine(count=60)
        await daemon.until(lambda: node.lines == 1)
        go_on.set()
        await daemon.walked(71)
    assert fates(daemon) == {"pending": [11, *range(61, 72)], "expired": list(range(12, 61))}
