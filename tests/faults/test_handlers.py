"""A handler that misbehaves is one rule's misfortune: following, sending and the other rules go on, and it is told."""

import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from command import listener, running
from following import BLOCKS, Following, following, write_config

from listener import metrics
from listener.testing import FakeAggregator, FakeNode

BAD = """
[[rules]]
name = "bad"
task = "bad"
task_definition_id = 9
trigger = { type = "block", chain = "l2", every = 1 }
timeout_s = 0.2
max_attempts = 2
"""
HANGS = "import asyncio\nasync def execute(ctx):\n    await asyncio.Event().wait()\n"
HANGS_IN_A_THREAD = "import threading\ndef execute(ctx):\n    threading.Event().wait()\n"
RAISES = "async def execute(ctx):\n    raise RuntimeError('I will not')\n"
EXITS = "import sys\nasync def execute(ctx):\n    sys.exit(3)\n"
RECURSES = "def deeper():\n    deeper()\nasync def execute(ctx):\n    deeper()\n"
FLOODS = """
from listener import TaskResult
async def execute(ctx):
    for number in range(200):
        ctx.log.info("handler.said", number=number, text="x" * 1000)
    return TaskResult("y" * 70_000)
"""
LEAKS = """
import asyncio
KEPT = []
async def execute(ctx):
    KEPT.append(bytearray(100_000))
    KEPT.extend(asyncio.create_task(asyncio.sleep(3600)) for _ in range(100))
    raise MemoryError("none left")
"""
MISFORTUNES = {
    "hangs": (HANGS, "no result within timeout_s = 0.2"),
    "hangs in a thread": (HANGS_IN_A_THREAD, "no result within timeout_s = 0.2"),
    "raises": (RAISES, "RuntimeError: I will not"),
    "exits": (EXITS, "SystemExit: 3"),
    "recurses": (RECURSES, "RecursionError"),
    "floods": (FLOODS, "proof_of_task has 70000 bytes"),
    "leaks": (LEAKS, "MemoryError: none left"),
}
BLOCKS_AHEAD = 12


def config(folder: Path, node: FakeNode, fake: FakeAggregator, handler: str) -> Path:
    (folder / "bad.py").write_text(handler)
    return write_config(folder, [node.ws_url], BAD + BLOCKS, aggregator=fake.url)


@pytest.mark.parametrize(("handler", "reason"), MISFORTUNES.values(), ids=MISFORTUNES)
async def test_one_that_fails_leaves_the_others_running_and_ends_in_a_dead_letter(
    node: FakeNode, fake: FakeAggregator, tmp_path: Path, logs: list[Any], *, handler: str, reason: str
) -> None:
    async with following(config(tmp_path, node, fake, handler)) as daemon:
        await daemon.walked(10)
        await node.mine(count=BLOCKS_AHEAD)
        await daemon.until(lambda: [state for _, state in daemon.states("blocks")] == ["accepted"] * BLOCKS_AHEAD)
        await daemon.until(lambda: [state for _, state in daemon.states("bad")] == ["failed"] * BLOCKS_AHEAD)
        assert all(reason in row["error"] for row in daemon.rows if row["rule"] == "bad")
        assert {row["attempts"] for row in daemon.rows if row["rule"] == "bad"} == {2}
        await daemon.until(lambda: sum(line["event"] == "task.failed" for line in logs) == BLOCKS_AHEAD)
        await node.mine()
        await daemon.until(lambda: daemon.states("blocks")[-1] == (11 + BLOCKS_AHEAD, "accepted"))


BLOCKS_THE_LOOP = """
import threading
from listener import TaskResult
entered, leave = threading.Event(), threading.Event()
async def execute(ctx):
    if ctx.trigger.block_number == 14:
        entered.set()
        leave.wait(30)
    return TaskResult(f"bad {ctx.trigger.block_number}")
"""


async def test_one_that_blocks_its_loop_is_named_and_delays_handlers_alone(
    node: FakeNode, fake: FakeAggregator, tmp_path: Path, logs: list[Any]
) -> None:
    def blocked() -> float:
        return metrics.registry.get_sample_value("listener_handlers_blocked_total") or 0.0

    (tmp_path / "blocking.py").write_text(BLOCKS_THE_LOOP)
    rule = BAD.replace('task = "bad"', 'task = "blocking"').replace("timeout_s = 0.2", "timeout_s = 60")
    before = blocked()
    await fake.close()
    async with following(write_config(tmp_path, [node.ws_url], rule, aggregator=fake.url)) as daemon:
        await daemon.walked(10)
        await node.mine(count=3)
        await daemon.until(lambda: [state for _, state in daemon.states()] == ["ready"] * 3)
        await node.mine()
        blocking = sys.modules["blocking"]
        try:
            await daemon.until(blocking.entered.is_set)
            await node.mine(count=5)
            await daemon.walked(19)
            await fake.start()
            await daemon.until(lambda: [state for _, state in daemon.states()][:3] == ["accepted"] * 3)
            await daemon.until(lambda: any(line["event"] == "handlers.blocked" for line in logs))
        finally:
            blocking.leave.set()
        await daemon.until(lambda: [state for _, state in daemon.states()] == ["accepted"] * 9)
    (named,) = [line for line in logs if line["event"] == "handlers.blocked"]
    assert (named["task"], blocked()) == ("bad 4", before + 1)


async def test_what_a_handler_left_running_ends_with_the_daemon(
    node: FakeNode, fake: FakeAggregator, tmp_path: Path
) -> None:
    async with following(config(tmp_path, node, fake, HANGS)) as daemon:
        await daemon.walked(10)
        await node.mine(count=BLOCKS_AHEAD)
        await daemon.until(lambda: daemon.states("blocks")[-1:] == [(10 + BLOCKS_AHEAD, "accepted")])
    left = {thread.name for thread in threading.enumerate()}
    assert not left & {"handlers", "journal"}


KILLS = """
import os, signal
from listener import TaskResult
async def execute(ctx):
    if ctx.trigger.block_number % 10 == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return TaskResult(str(ctx.trigger.block_number))
"""


async def test_one_that_kills_the_process_fails_alone(node: FakeNode, fake: FakeAggregator, tmp_path: Path) -> None:
    rules = BAD.replace("timeout_s = 0.2", "concurrency = 4")
    (tmp_path / "bad.py").write_text(KILLS)
    written = write_config(tmp_path, [node.ws_url], rules, chain="start = 11", aggregator=fake.url)
    await node.mine(count=8)
    for _ in range(2):
        async with running(written) as run:
            assert await run.ended() == -9
    async with running(written) as run:
        await run.until(lambda: len(fake.accepted) == 7)
        await run.until(lambda: all(state in {"accepted", "failed"} for _, state in Following(written).states()))
    assert [number for number, state in Following(written).states() if state == "failed"] == [13]
    assert fake.differing() == {}
    shown = await listener("tasks", "list", "--json", "--state", "failed", config=written)
    assert "the process ended while its handler ran" in shown.objects[0]["error"]
