"""What an operator decides of tasks with the command line, beside a daemon that owns the journal."""

from pathlib import Path

import pytest
from aiohttp import web
from command import Answer, quickly, running
from following import BLOCKS, Following, following, write_config

from listener import submitter
from listener.devnet.aggregator import Aggregator
from listener.runner import runner
from listener.testing import FakeNode

# Fails until there is a file "mended"; works as long as there is a file "hold"; each payload is another.
HANDLER = """
import asyncio, os, time
from listener import TaskResult
async def execute(ctx):
    if not os.path.exists("{folder}/mended"):
        raise ValueError("no price")
    open("{folder}/begun", "w").close()
    while os.path.exists("{folder}/hold"):
        await asyncio.sleep(0.01)
    return TaskResult(str(ctx.trigger.block_number) + "+" + str(time.time_ns()))
"""


@pytest.fixture(autouse=True)
def _polling_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "POLL_S", 0.2)
    monkeypatch.setattr(submitter, "POLL_S", 0.2)


@pytest.fixture
def config(node: FakeNode, aggregator: Aggregator, tmp_path: Path) -> Path:
    (tmp_path / "moody.py").write_text(HANDLER.format(folder=tmp_path))
    rules = BLOCKS.replace("tasks.block_report", "moody") + "max_attempts = 1\n"
    return write_config(tmp_path, [node.ws_url], rules, aggregator=aggregator.url)


async def decided(config: Path, *words: str) -> Answer:
    answer = await quickly("tasks", *words, config=config)
    assert answer.code == 0, answer.err
    assert len(answer.out.splitlines()) == 1
    return answer


async def test_a_dead_letter_is_retried_beside_the_daemon_and_sent_once(
    node: FakeNode, aggregator: Aggregator, config: Path
) -> None:
    rows = Following(config)
    async with running(config) as run:
        await run.logged("chain.begun")
        await node.mine()
        await run.logged("task.failed")
        config.with_name("mended").touch()
        assert "was failed, is pending" in (await decided(config, "retry", "1")).out
        await run.until(lambda: rows.states() == [(11, "accepted")])
        assert len(aggregator.accepted) == 1

        answer = await decided(config, "retry", "1", "--re-execute")
        assert "old payload may have been taken" in answer.err
        await run.until(lambda: len(aggregator.accepted) == 2 and rows.states() == [(11, "accepted")])
        first, second = aggregator.accepted
        shown = (await quickly("tasks", "show", "1", "--json", config=config)).objects[0]
        assert (shown["digest"], shown["sends"], shown["already_known"]) == (f"0x{second.digest.hex()}", 1, False)
        assert f"0x{first.digest.hex()}" in (await quickly("tasks", "show", "1", config=config)).out

        refused = await quickly("tasks", "retry", "1", config=config)
        assert (refused.code, refused.out, len(refused.err.splitlines())) == (1, "", 1)
        assert "task 1 is accepted" in refused.err
        assert (await quickly("tasks", "discard", "7", config=config)).code == 1


async def test_what_the_aggregator_refused_is_sent_again_with_the_same_bytes(
    node: FakeNode, aggregator: Aggregator, config: Path
) -> None:
    async def refuse(_request: web.BaseRequest) -> web.Response:
        return web.json_response({"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "invalid params"}})

    config.with_name("mended").touch()
    aggregator.before = refuse
    async with following(config) as daemon:
        await daemon.walked(10)
        await node.mine()
        await daemon.until(lambda: daemon.states() == [(11, "failed")])
        (before,) = daemon.rows
        aggregator.before = None
        assert "the same bytes are sent" in (await decided(config, "retry", "1")).out
        await daemon.until(lambda: daemon.states() == [(11, "accepted")])
        (after,) = daemon.rows
    (call,) = aggregator.accepted
    assert (call.digest, call.signature) == (before["digest"], before["signature"])
    assert (after["already_known"], after["sends"], after["attempts"]) == (0, 2, 1)


async def test_what_is_put_away_stays_away_whatever_the_daemon_has_in_hand(
    node: FakeNode, aggregator: Aggregator, config: Path
) -> None:
    config.with_name("mended").touch()
    config.with_name("hold").touch()
    async with following(config) as daemon:
        await daemon.walked(10)
        await node.mine()
        await daemon.until(config.with_name("begun").exists)
        assert "was running, is discarded" in (await decided(config, "discard", "1")).out
        await aggregator.close()
        config.with_name("hold").unlink()
        await node.mine()
        await daemon.until(lambda: any(row["sends"] for row in daemon.rows))
        assert "may still be taken" in (await decided(config, "discard", "2")).out
        await aggregator.start()
        await node.mine()
        await daemon.until(lambda: daemon.states()[2:] == [(13, "accepted")])
        assert daemon.states()[:2] == [(11, "discarded"), (12, "discarded")]
        before = daemon.rows[1]
        for task in ("1", "2"):
            await decided(config, "retry", task)
        await daemon.until(lambda: [state for _, state in daemon.states()] == ["accepted"] * 3)
        assert daemon.rows[1]["signature"] == before["signature"]
        assert len(aggregator.accepted) == 3
