"""The daemon performs what is its operator's turn, as the attestation contract has the operators at that block."""

import json
from pathlib import Path

import pytest
from following import BLOCKS, Following, following, write_config
from test_operators import change, deployed

from listener.devnet.accounts import ACCOUNTS, PERFORMER
from listener.devnet.aggregator import Aggregator
from listener.devnet.anvil import Anvil
from listener.runner import runner
from listener.testing import FakeNode

OTHER = ACCOUNTS[7].address
TURNS = BLOCKS + 'election = { type = "round_robin", span = 2 }\n'


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "ELECTION_PAUSE_S", 0.05)


def attestation(address: str, chain: str = "l2") -> str:
    return f'[attestation]\nchain = "{chain}"\naddress = "{address}"\n'


def outcomes(daemon: Following) -> dict[int, str]:
    return dict(daemon.states("blocks"))


@pytest.mark.parametrize("generation", ["AttestationCenter", "AttestationCenterWithoutList"])
async def test_tasks_of_other_operators_turns_are_skipped_by_the_operators_of_that_block(
    aggregator: Aggregator, tmp_path: Path, generation: str
) -> None:
    async with Anvil(mining=False) as anvil:
        center = await deployed(anvil, generation)
        for operator in (OTHER, PERFORMER.address):
            await register(anvil, center, operator)
        config = write_config(
            tmp_path, [anvil.ws_url], TURNS, aggregator=aggregator.url, more=attestation(center), chain="start = 4"
        )
        await anvil.mine(8)
        first = await anvil.head()
        await register(anvil, center, ACCOUNTS[8].address)
        head = await anvil.mine(7)
        expected: dict[int, str] = {}
        for number in range(4, head + 1):
            order = [OTHER, PERFORMER.address] + ([ACCOUNTS[8].address] if number > first else [])
            ours = order[number // 2 % len(order)] == PERFORMER.address
            expected[number] = "accepted" if ours else "skipped"
        async with following(config) as daemon:
            await daemon.until(lambda: outcomes(daemon) == expected)
    reasons = {row["error"] for row in daemon.rows if row["state"] == "skipped" and row["block_number"] <= first}
    assert all(reason.startswith(f"not elected: it is the turn of operator {OTHER} at block") for reason in reasons)
    assert sorted(set(expected.values())) == ["accepted", "skipped"]


async def register(anvil: Anvil, center: str, operator: str) -> None:
    """Register an operator in a block of its own, on a chain that mines when it is told to."""
    await anvil.call("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
    await change(anvil, center, "register", operator)
    await anvil.call("evm_setAutomine", False)  # noqa: FBT003 - JSON-RPC


async def test_on_another_chain_it_waits_for_the_block_that_follows_the_triggers_time(
    aggregator: Aggregator, tmp_path: Path
) -> None:
    async with Anvil(mining=False) as anvil, Anvil(chain_id=5) as other:
        center = await deployed(other, "AttestationCenter")
        await change(other, center, "register", OTHER)
        begun = int((await other.block("latest"))["timestamp"], 16)
        await anvil.call("evm_setNextBlockTimestamp", begun + 5)
        await anvil.mine()
        more = f'{attestation(center, "l1")}[chains.l1]\nendpoints = ["{other.http_url}"]\nchain_id = 5\n'
        config = write_config(tmp_path, [anvil.ws_url], TURNS, aggregator=aggregator.url, more=more, chain="start = 1")
        async with following(config) as daemon:
            await daemon.until(lambda: "no block yet that is later" in str([row["error"] for row in daemon.rows]))
            (row,) = daemon.rows
            assert (row["state"], row["attempts"]) in {("pending", 0), ("running", 1)}
            await other.call("evm_setNextBlockTimestamp", begun + 6)
            await change(other, center, "register", PERFORMER.address)  # too late for this trigger
            await daemon.until(lambda: outcomes(daemon) == {1: "skipped"})
            assert OTHER in daemon.rows[0]["error"]
            await anvil.call("evm_setNextBlockTimestamp", begun + 7)
            await anvil.mine()  # block 2: (2 // 2) % 2 is the second operator
            await other.call("evm_setNextBlockTimestamp", begun + 8)
            await other.mine()
            await daemon.until(lambda: outcomes(daemon) == {1: "skipped", 2: "accepted"})


async def test_a_schedule_is_elected_and_performed_at_the_cursor(aggregator: Aggregator, tmp_path: Path) -> None:
    async with Anvil(mining=False) as anvil:
        center = await deployed(anvil, "AttestationCenter")
        await register(anvil, center, PERFORMER.address)
        (tmp_path / "tick.py").write_text(TICK)
        config = write_config(tmp_path, [anvil.ws_url], SCHEDULE, aggregator=aggregator.url, more=attestation(center))
        async with following(config) as daemon:
            await daemon.until(lambda: len([each for each in daemon.rows if each["state"] == "accepted"]) >= 2)
            seen = [json.loads(row["proof_of_task"]) for row in daemon.rows if row["proof_of_task"]]
        assert {each["number"] for each in seen} == {await anvil.head()}
        due = [each["due"] for each in seen]
        assert due == list(range(due[0], due[0] + len(due)))
        assert {row["trigger"] for row in daemon.rows} == {"schedule"}


async def test_where_no_rule_has_a_schedule_any_longer_its_plan_is_forgotten(node: FakeNode, tmp_path: Path) -> None:
    (tmp_path / "tick.py").write_text(TICK)
    rule = SCHEDULE.replace('election = { type = "round_robin" }\n', "")
    plans = "SELECT value FROM facts WHERE name = 'schedule tick'"
    async with following(write_config(tmp_path, [node.ws_url], rule)) as daemon:
        await daemon.until(lambda: daemon.query(plans))
    async with following(write_config(tmp_path, [node.ws_url], BLOCKS)) as daemon:
        assert daemon.query(plans) == []


TICK = """
import json
from listener import TaskResult
async def execute(ctx):
    number = (await ctx.w3.eth.get_block("latest"))["number"]
    return TaskResult(json.dumps({"number": number, "due": int(ctx.trigger.due.timestamp())}))
"""
SCHEDULE = """
[[rules]]
name = "tick"
task = "tick"
task_definition_id = 3
trigger = { type = "schedule", every = "1s" }
election = { type = "round_robin" }
"""
