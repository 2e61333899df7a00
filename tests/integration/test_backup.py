"""A journal is backed up beside a daemon at work, restored, and gone on with in the way that was chosen."""

import asyncio
import contextlib
import signal
import sqlite3
from collections import Counter
from pathlib import Path

from command import listener, quickly, running
from following import BLOCKS, Following, write_config

from listener.devnet.aggregator import Aggregator
from listener.testing import FakeNode

BEFORE, BETWEEN, DOWN, AFTER = 30, 20, 10, 5  # blocks


async def history(node: FakeNode, aggregator: Aggregator, folder: Path) -> Path:
    """
    Take a backup while the daemon works, let it go on, kill it, lose its journal, and restore the backup.

    Blocks 11 to 60 are done by the first daemon, 61 to 70 by nobody; where in the first 30 the backup was taken is left
    to chance.
    """
    config = write_config(folder, [node.ws_url], BLOCKS, aggregator=aggregator.url)
    async with running(config) as run:
        await run.logged("chain.begun")
        mining = asyncio.create_task(node.mine(count=BEFORE))
        await run.until(lambda: len(aggregator.accepted) > 3)
        taken = await quickly("journal", "backup", str(folder / "copy.db"), config=config)
        assert (taken.code, taken.err) == (0, "")
        await mining
        await node.mine(count=BETWEEN)
        await run.until(lambda: len(aggregator.accepted) == BEFORE + BETWEEN)
        owned = await quickly("journal", "restore", str(folder / "copy.db"), config=config)
        assert (owned.code, f"process {run.process.pid} owns it" in owned.err) == (1, True)
        run.process.send_signal(signal.SIGKILL)
        await run.process.wait()
    node.chain.add(count=DOWN)
    restored = await quickly("journal", "restore", str(folder / "copy.db"), config=config)
    assert restored.code == 0, restored.err
    assert "listener.db.replaced-" in restored.out
    refused = await listener("run", config=config)
    assert (refused.code, refused.out, len(refused.err.splitlines())) == (1, "", 1)
    assert "held" in refused.err
    assert "--resume-at" in refused.err
    return config


def blocks_of(aggregator: Aggregator) -> Counter[int]:
    return Counter(int(call.proof_of_task.split("+")[0]) for call in aggregator.accepted)


async def test_resumed_at_the_newest_block_nothing_is_sent_of_the_time_since(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    config = await history(node, aggregator, tmp_path)
    rows = Following(config)
    done = {row["block_number"] for row in rows.rows if row["state"] == "accepted"}
    async with running(config, "--resume-at", "latest") as run:
        await run.logged("journal.resumed")
        await run.until(lambda: rows.cursor == 70)
        await node.mine(count=AFTER)
        await run.until(lambda: rows.states()[-1] == (75, "accepted"))
        run.process.send_signal(signal.SIGTERM)
        assert await run.ended() == 0
    assert blocks_of(aggregator) == dict.fromkeys([*range(11, 61), *range(71, 76)], 1)
    # Each trigger is there; those between, 61 to 70 among them, were not executed, and say why.
    assert [number for number, _ in rows.states()] == list(range(11, 76))
    expired = {row["block_number"]: row["error"] for row in rows.rows if row["state"] == "expired"}
    assert expired.keys() == set(range(11, 71)) - done
    assert all("it may have been done" in reason for reason in expired.values())
    assert aggregator.refused == []

    wrong = await listener("run", "--resume-at", "latest", config=config)
    assert (wrong.code, len(wrong.err.splitlines())) == (2, 1)
    assert "not held" in wrong.err
    async with running(config) as run:  # the choice is kept
        await node.mine()
        await run.until(lambda: rows.states()[-1] == (76, "accepted"))


async def test_resumed_at_the_cursor_everything_is_done_and_the_same_bytes_are_known(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    config = await history(node, aggregator, tmp_path)
    rows = Following(config)
    with contextlib.closing(sqlite3.connect(config.with_name("copy.db"))) as connection:
        (cursor,) = connection.execute("SELECT number FROM chains").fetchone()
    async with running(config, "--resume-at", "cursor") as run:
        await run.until(lambda: rows.states() == [(number, "accepted") for number in range(11, 71)])
        run.process.send_signal(signal.SIGTERM)
        assert await run.ended() == 0
    # Proofs that are a function of their block make the same bytes again: the contract's own dedupe holds.
    assert blocks_of(aggregator) == dict.fromkeys(range(11, 71), 1)
    known = {row["block_number"] for row in rows.rows if row["already_known"]}
    assert set(range(cursor + 1, 61)) <= known <= set(range(11, 61))


async def test_a_way_that_is_none_is_bad_usage(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS)
    answer = await quickly("run", "--resume-at", "now", config=config)
    assert answer.code == 2
    assert "now is neither latest nor cursor" in answer.err
    for words in (("journal", "backup", str(tmp_path / "copy.db")), ("journal", "restore", str(tmp_path / "none.db"))):
        answer = await quickly(*words, config=config)
        assert (answer.code, answer.out, len(answer.err.splitlines())) == (1, "", 1)
    assert not Following(config).path.exists()
