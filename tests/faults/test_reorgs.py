"""Reorgs in the worst moments: at the very depth that was waited for, in mid-execution, in mid-send, over a restart."""

from pathlib import Path

import pytest
from following import PINGS, Following, following, ping, write_config

from listener import submitter
from listener.testing import FakeAggregator, FakeNode, Fault

OPEN = {"pending", "running", "ready"}
GATED = """
import asyncio, os, pathlib
from listener import TaskResult
HERE = pathlib.Path(__file__).parent
async def execute(ctx):
    (HERE / "begun").touch()
    while not (HERE / "gate").exists():
        await asyncio.sleep(0.01)
    return TaskResult(ctx.trigger.block_hash.hex(), os.urandom(8))
"""


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitter, "LONGEST_PAUSE_S", 0.05)
    monkeypatch.setattr(submitter, "POLL_S", 0.1)


def at_rest(daemon: Following) -> bool:
    return bool(daemon.rows) and not any(row["state"] in OPEN and not row["orphaned"] for row in daemon.rows)


@pytest.mark.parametrize("policy", ["once", "rerun"])
@pytest.mark.parametrize("depth", [3, 4])
async def test_a_reorg_as_deep_as_was_waited_for_touches_nothing_and_one_block_deeper_does_as_the_policy_says(
    node: FakeNode, tmp_path: Path, depth: int, policy: str
) -> None:
    async with FakeAggregator() as aggregator:
        rule = f'{PINGS}confirmations = 3\non_reorg = "{policy}"\n'
        async with following(write_config(tmp_path, [node.ws_url], rule, aggregator=aggregator.url)) as daemon:
            await daemon.walked(10)
            await node.mine(ping())
            await node.mine(count=3)
            await daemon.until(lambda: daemon.states() == [(11, "accepted")])
            node.chain.fork(depth)
            if depth == 4:
                node.chain.add(ping())
            head = await node.mine(count=5)
            await daemon.until(lambda: bytes(daemon.chain["hash"]) == head.hash)
            await daemon.until(lambda: at_rest(daemon))
            rows = [(row["state"], bool(row["orphaned"])) for row in daemon.rows]
        times = len(aggregator.accepted)
    if depth == 3:
        assert (rows, times) == ([("accepted", False)], 1)
    elif policy == "once":
        assert (rows, times) == ([("accepted", True), ("skipped", False)], 1)
    else:
        assert (rows, times) == ([("accepted", True), ("accepted", False)], 2)


async def test_the_result_of_a_handler_whose_block_left_meanwhile_is_never_signed_or_sent(
    node: FakeNode, tmp_path: Path
) -> None:
    (tmp_path / "gated.py").write_text(GATED)
    async with FakeAggregator() as aggregator:
        config = write_config(tmp_path, [node.ws_url], PINGS.replace("echo", "gated"), aggregator=aggregator.url)
        async with following(config) as daemon:
            await daemon.walked(10)
            await node.mine(ping(transaction="old"))
            await daemon.until((tmp_path / "begun").exists)
            node.chain.fork(1)
            node.chain.add(ping(transaction="new"))
            head = await node.mine()
            await daemon.until(lambda: bytes(daemon.chain["hash"]) == head.hash)
            (tmp_path / "gate").touch()
            await daemon.until(lambda: daemon.states() == [(11, "cancelled"), (11, "accepted")])
            old = daemon.rows[0]
        assert (old["proof_of_task"], old["signature"]) == (None, None)
        assert [call.proof_of_task for call in aggregator.sent] == [node.chain.blocks[11].hash.hex()]


async def test_a_block_that_left_and_returned_while_its_send_was_unanswered_is_sent_again_with_identical_bytes(
    node: FakeNode, tmp_path: Path
) -> None:
    (tmp_path / "gated.py").write_text(GATED)
    (tmp_path / "gate").touch()
    async with FakeAggregator() as aggregator:
        aggregator.always = Fault.lost("reset")
        config = write_config(tmp_path, [node.ws_url], PINGS.replace("echo", "gated"), aggregator=aggregator.url)
        async with following(config) as daemon:
            await daemon.walked(10)
            await node.mine(ping())
            await daemon.until(lambda: aggregator.sent)
            old = node.chain.fork(1)
            head = await node.mine(count=2)
            await daemon.until(lambda: bytes(daemon.chain["hash"]) == head.hash)
            assert [bool(row["orphaned"]) for row in daemon.rows] == [True]
            node.chain.return_to(old)
            aggregator.always = None
            head = await node.mine(count=2)
            await daemon.until(lambda: bytes(daemon.chain["hash"]) == head.hash)
            await daemon.until(lambda: daemon.states() == [(11, "accepted")])
            assert [(bool(row["orphaned"]), bool(row["already_known"])) for row in daemon.rows] == [(False, False)]
        assert len(aggregator.accepted) == 1
        assert aggregator.differing() == {}


async def test_a_reorg_while_a_task_is_ready_at_start_lets_it_rest_until_its_block_returns(
    node: FakeNode, tmp_path: Path
) -> None:
    (tmp_path / "gated.py").write_text(GATED)
    (tmp_path / "gate").touch()
    async with FakeAggregator() as aggregator:
        aggregator.always = Fault.cut()
        config = write_config(tmp_path, [node.ws_url], PINGS.replace("echo", "gated"), aggregator=aggregator.url)
        async with following(config) as daemon:
            await daemon.walked(10)
            await node.mine(ping())
            await daemon.until(lambda: daemon.states() == [(11, "ready")])
            signed = daemon.rows[0]["signature"]
        old = node.chain.fork(1)
        node.chain.add(count=2)
        async with following(config) as daemon:
            await daemon.until(lambda: [bool(row["orphaned"]) for row in daemon.rows] == [True])
            await daemon.stay(12)  # a send may have been on its way as the reorg was written
            aggregator.always = None
            tries = len(aggregator.sent)
            for number in range(13, 16):
                await node.mine()
                await daemon.stay(number)
            assert [row["state"] for row in daemon.rows] == ["ready"]
            assert len(aggregator.sent) == tries
            node.chain.return_to(old)
            await node.mine(count=6)
            await daemon.until(lambda: daemon.states() == [(11, "accepted")])
            assert daemon.rows[0]["signature"] == signed
        assert len(aggregator.accepted) == 1
        assert aggregator.differing() == {}


async def test_a_reorg_of_a_reorg_while_nothing_gets_through_leaves_each_cause_accepted_once(
    node: FakeNode, tmp_path: Path
) -> None:
    async with FakeAggregator() as aggregator:
        aggregator.always = Fault.cut()
        config = write_config(tmp_path, [node.ws_url], PINGS, aggregator=aggregator.url)
        async with following(config) as daemon:
            await daemon.walked(10)
            await node.mine(ping(transaction="a"))
            await daemon.until(lambda: aggregator.sent)
            for depth in (1, 3, 3):
                node.chain.fork(depth)
                node.chain.add(ping(transaction="b"))
                node.chain.add(ping(transaction="a"))
                head = await node.mine()
                await daemon.until(lambda head=head: bytes(daemon.chain["hash"]) == head.hash)
            aggregator.always = None
            await daemon.until(lambda: at_rest(daemon) and len(aggregator.accepted) == 2)
            await daemon.until(
                lambda: (
                    not daemon.query(
                        "SELECT 1 FROM tasks t WHERE state = 'ready' AND EXISTS "
                        "(SELECT 1 FROM tasks p WHERE p.paired_id = t.id AND p.canonical)"
                    )
                )
            )
        assert len({call.proof_of_task.split("+")[2] for call in aggregator.accepted}) == 2
        assert len(aggregator.accepted) == 2
