"""Every gap, reconnect, reorg, halt, skip, expiry, refusal and dead letter is one line, one count and one row."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from following import Following, following, write_config

from listener import metrics
from listener.follower import finality
from listener.testing import FakeAggregator, FakeNode, Fault

RULE = """
[[rules]]
name = "told"
task = "told"
task_definition_id = 5
trigger = { type = "block", chain = "l2", every = 1, offset = 0 }
max_attempts = 1
"""
GOOD = """
from listener import TaskResult
async def execute(ctx):
    return TaskResult(ctx.trigger.block_hash.to_0x_hex())
"""
NOTHING = "async def execute(ctx):\n    return None\n"
RAISES = "async def execute(ctx):\n    raise RuntimeError('no')\n"
INCIDENT = "SELECT * FROM incidents"


@dataclass(frozen=True)
class Trouble:
    """What goes wrong, and what has to be found of it."""

    happen: Callable[[Following, FakeNode, FakeAggregator], Awaitable[None]]
    line: str
    counter: str
    labels: dict[str, str]
    rows: str = INCIDENT
    handler: str = GOOD
    rule: str = ""


async def mine(_daemon: Following, node: FakeNode, _fake: FakeAggregator) -> None:
    await node.mine()


async def refuse(_daemon: Following, node: FakeNode, fake: FakeAggregator) -> None:
    fake.faults.append(Fault.error(-32602, "proofOfTask: too long"))
    await node.mine()


async def leave_a_gap(daemon: Following, node: FakeNode, _fake: FakeAggregator) -> None:
    await node.mine()
    await daemon.walked(11)
    node.chain.add(count=3)
    await node.mine()


async def cut(daemon: Following, node: FakeNode, _fake: FakeAggregator) -> None:
    await daemon.until(lambda: node.lines == 1)
    node.reset()
    await daemon.until(lambda: node.connections == 2 and node.lines == 1)


async def reorganise(daemon: Following, node: FakeNode, _fake: FakeAggregator) -> None:
    await node.mine(count=5)
    await daemon.walked(15)
    node.chain.fork(3)
    node.chain.add(count=4)
    await node.push(node.chain.head)
    await daemon.walked(16)


async def leave(daemon: Following, node: FakeNode, _fake: FakeAggregator) -> None:
    node.chain.final = 15
    await node.mine(count=9)
    await daemon.walked(19)
    await node.mine()
    await daemon.until(lambda: daemon.cursor == 20 and daemon.chain["final"] == 15)
    node.chain.fork(6)
    await node.mine(count=8)
    await daemon.until(lambda: daemon.chain["halted"])


def of_chain(happen: Any, kind: str, line: str) -> Trouble:
    return Trouble(happen, line, "listener_incidents_total", {"chain": "l2", "kind": kind})


def of_task(happen: Any, state: str, **more: str) -> Trouble:
    labels, rows = {"rule": "told", "state": state}, f"SELECT * FROM tasks WHERE state = '{state}'"  # noqa: S608
    return Trouble(happen, f"task.{state}", "listener_tasks_ended_total", labels, rows, **more)


TROUBLES = {
    "gap": of_chain(leave_a_gap, "gap", "chain.gap_found"),
    "reconnect": of_chain(cut, "reconnect", "websocket.lost"),
    "reorg": of_chain(reorganise, "reorg", "chain.reorganised"),
    "halt": of_chain(leave, "halt", "chain.halted"),
    "skip": of_task(mine, "skipped", handler=NOTHING),
    "expiry": of_task(mine, "expired", rule='max_age = "1s"\n'),
    "refusal": of_task(refuse, "failed"),
    "dead letter": of_task(mine, "failed", handler=RAISES),
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
async def test_it_is_one_line_one_count_and_one_row(
    node: FakeNode,
    fake: FakeAggregator,
    tmp_path: Path,
    logs: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    *,
    trouble: Trouble,
) -> None:
    monkeypatch.setattr(finality, "EVERY_S", 0.0)
    (tmp_path / "told.py").write_text(trouble.handler)

    def counted() -> float:
        return metrics.registry.get_sample_value(trouble.counter, trouble.labels) or 0.0

    def lines() -> int:
        return [line["event"] for line in logs].count(trouble.line)

    before = counted()
    written = write_config(tmp_path, [node.ws_url], RULE + trouble.rule, aggregator=fake.url)
    async with following(written) as daemon:
        await daemon.walked(10)
        await trouble.happen(daemon, node, fake)
        await daemon.until(lambda: lines() and counted() > before and daemon.query(trouble.rows))
    assert (lines(), counted() - before, len(daemon.query(trouble.rows))) == (1, 1, 1)
