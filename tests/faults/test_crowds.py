"""Many at once: a block with ten thousand events is journaled whole, and what waits its turn waits in the journal."""

import asyncio
from pathlib import Path

from aiohttp import web
from following import PINGS, following, ping, write_config

from listener.devnet.aggregator import Aggregator
from listener.testing import FakeNode

CROWD = 10_000
COUNTING = """
import asyncio, pathlib
from listener import TaskResult
RUNNING = [0]
MOST = pathlib.Path(__file__).with_name("most")
async def execute(ctx):
    RUNNING[0] += 1
    most = int(MOST.read_text()) if MOST.exists() else 0
    if RUNNING[0] > most:
        MOST.write_text(str(RUNNING[0]))
    await asyncio.sleep(0)
    RUNNING[0] -= 1
    return TaskResult(f"{ctx.trigger.block_hash.hex()}+{ctx.trigger.event.log_index}", b"")
"""


async def test_a_block_with_ten_thousand_events_is_journaled_whole_and_in_order(node: FakeNode, tmp_path: Path) -> None:
    async with following(write_config(tmp_path, [node.http_url], PINGS), "follower") as daemon:
        await daemon.walked(10)
        await node.mine(*(ping(value=value) for value in range(CROWD)))
        await node.mine()
        await daemon.walked(12)
        indexes = [row["log_index"] for row in daemon.query("SELECT log_index FROM tasks ORDER BY id")]
        assert indexes == list(range(CROWD))
        assert daemon.query("SELECT DISTINCT block_number FROM tasks") == [{"block_number": 11}]


async def test_of_a_crowd_no_more_are_in_hand_than_there_are_slots(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    sending, most = 0, 0

    async def begin(_request: web.BaseRequest) -> None:
        nonlocal sending, most
        sending += 1
        most = max(most, sending)
        await asyncio.sleep(0.002)

    async def end(_request: web.BaseRequest) -> None:
        nonlocal sending
        sending -= 1

    aggregator.before, aggregator.after = begin, end
    (tmp_path / "counting.py").write_text(COUNTING)
    rule = PINGS.replace("echo", "counting") + "concurrency = 4\n"
    config = write_config(tmp_path, [node.http_url], rule, aggregator=aggregator.url)
    config.write_text(config.read_text().replace("[aggregator]\n", "[aggregator]\nin_flight = 5\n"))
    async with following(config) as daemon:
        await daemon.walked(10)
        await node.mine(*(ping(value=value) for value in range(400)))
        await daemon.until(lambda: len(aggregator.accepted) == 400)
        await daemon.until(lambda: set(daemon.states()) == {(11, "accepted")})
    assert int((tmp_path / "most").read_text()) == 4
    assert 1 < most <= 5
