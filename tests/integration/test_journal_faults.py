"""A full disk, a lock that is held, a damaged file: one clear line, and nothing lost once it is mended."""

import contextlib
import os
import resource
import shutil
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Run, listener, quickly, running
from following import BLOCKS, Following, write_config

from listener.devnet.aggregator import Aggregator
from listener.testing import FakeNode

PAGE = 4096


@pytest.fixture
def config(node: FakeNode, aggregator: Aggregator, tmp_path: Path) -> Path:
    return write_config(tmp_path, [node.ws_url], BLOCKS, aggregator=aggregator.url)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder))
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:  # noqa: S603 - our own words
        pytest.skip("only root mounts a file system")
    yield folder
    subprocess.run(("umount", str(folder)), check=True)  # noqa: S603, S607 - our own words


def put_journal_in(folder: Path, config: Path) -> None:
    config.write_text(config.read_text().replace("sqlite:///listener.db", f"sqlite:///{folder}/listener.db"))


def size_of(path: Path) -> int:
    return path.stat().st_size


async def worked(run: Run, node: FakeNode, aggregator: Aggregator) -> None:
    await run.logged("chain.begun")
    await node.mine(count=3)
    await run.until(lambda: len(aggregator.accepted) == 3)


async def ended_with(run: Run, said: str) -> None:
    """Check that the daemon stops by itself, and that its last line says why."""
    assert await run.ended() == 1
    assert "Traceback" not in run.text
    assert run.text.splitlines()[-1].startswith("listener: journal ")
    assert said in run.text.splitlines()[-1]


async def refused(config: Path, said: str) -> None:
    """Check that the daemon does not start, and says why in its last line."""
    answer = await listener("run", config=config)
    assert answer.code == 1
    assert "Traceback" not in answer.err
    assert answer.err.splitlines()[-1].startswith("listener: journal ")
    assert said in answer.err.splitlines()[-1]


async def nothing_is_lost(config: Path, aggregator: Aggregator, last: int, folder: Path | None = None) -> None:
    """Start again, and see each block's task accepted once, with the bytes that were written before they were sent."""
    rows = Following(config)
    rows.path = (folder or config.parent) / "listener.db"
    before = {row["id"]: row["signature"] for row in rows.rows if row["signature"] is not None}
    assert {call.signature for call in aggregator.accepted} <= set(before.values()), "what was sent is written"
    async with running(config) as run:
        await run.until(lambda: rows.states() == [(number, "accepted") for number in range(11, last + 1)])
    assert {row["id"]: row["signature"] for row in rows.rows}.items() >= before.items()
    taken = Counter(call.proof_of_task for call in aggregator.accepted)
    assert taken == dict.fromkeys((row["proof_of_task"] for row in rows.rows), 1)


async def test_a_write_that_fails_ends_the_daemon_and_nothing_is_lost(
    node: FakeNode, aggregator: Aggregator, config: Path
) -> None:
    async with running(config) as run:
        await worked(run, node, aggregator)
        limit = size_of(Path(f"{Following(config).path}-wal"))
        resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (limit, limit))  # type: ignore[attr-defined]
        await node.mine(count=5)
        await ended_with(run, "disk I/O error; nothing of this step was written; its disk is full")
    await nothing_is_lost(config, aggregator, 18)


async def test_a_full_disk_ends_the_daemon_and_nothing_is_lost(
    node: FakeNode, aggregator: Aggregator, config: Path, small_disk: Path
) -> None:
    put_journal_in(small_disk, config)
    ballast = small_disk / "ballast"

    def fill() -> None:
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(PAGE))

    fill()
    await refused(config, "; ")
    ballast.unlink()
    async with running(config) as run:
        await worked(run, node, aggregator)
        fill()
        await node.mine(count=5)
        await ended_with(run, "database or disk is full; nothing of this step was written; make room")
    fill()  # what the daemon gave back when it ended
    full = await quickly("journal", "backup", str(small_disk / "copy.db"), config=config)
    assert (full.code, len(full.err.splitlines()), (small_disk / "copy.db").exists()) == (1, 1, False)
    await refused(config, "full")
    ballast.unlink()
    await nothing_is_lost(config, aggregator, 18, small_disk)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the write lock, as a shell does that was left open in a transaction."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def test_a_lock_that_somebody_holds_for_long_ends_the_daemon_and_nothing_is_lost(
    node: FakeNode, aggregator: Aggregator, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = config.parent / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text("import listener.journal.database as d\nd.BUSY_S = 0.3\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(hook), *filter(None, [os.environ.get("PYTHONPATH")])]))
    path = Following(config).path
    async with running(config) as run:
        await worked(run, node, aggregator)
        with locked(path):
            await node.mine(count=5)
            await ended_with(run, "database is locked; nothing of this step was written; another program holds")
    with locked(path):
        await refused(config, "database is locked; another program holds")
        answer = await listener("tasks", "discard", "1", config=config)
        assert (answer.code, "database is locked" in answer.err, len(answer.err.splitlines())) == (1, True, 1)
        assert (await listener("tasks", "list", config=config)).code == 0, "who reads does not wait"
    await nothing_is_lost(config, aggregator, 18)


def garble(path: Path) -> None:
    """Overwrite all but the first page."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(PAGE)
        file.write(os.urandom(size - PAGE))


async def test_a_file_that_is_damaged_under_the_daemon_ends_it_and_a_backup_is_the_way_out(
    node: FakeNode, aggregator: Aggregator, config: Path
) -> None:
    path, copy = Following(config).path, config.with_name("copy.db")
    async with running(config) as run:
        await worked(run, node, aggregator)
        assert (await quickly("journal", "backup", str(copy), config=config)).code == 0
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("INSERT INTO facts VALUES ('unknown', '')")  # so that the daemon reads its pages anew
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        garble(path)
        await node.mine(count=5)
        await ended_with(run, "malformed; nothing of this step was written; the file is damaged")
    await refused(config, "`listener journal restore FILE`")
    checked = await quickly("check", "--offline", config=config)
    assert checked.code == 1
    assert "failed   journal" in checked.out
    assert (await quickly("journal", "restore", str(copy), config=config)).code == 0
    async with running(config, "--resume-at", "cursor") as run:
        await run.until(lambda: len(aggregator.accepted) == 8)
    await nothing_is_lost(config, aggregator, 18)


@pytest.mark.parametrize("share", [0.0001, 0.5, 0.9])
async def test_a_file_that_was_cut_off_is_not_gone_on_with(
    node: FakeNode, aggregator: Aggregator, config: Path, share: float
) -> None:
    path = Following(config).path
    async with running(config) as run:
        await worked(run, node, aggregator)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(path, config.with_name("whole.db"))
    os.truncate(path, int(path.stat().st_size * share))
    await refused(config, "the file is damaged")
    shutil.copy(config.with_name("whole.db"), path)
    await nothing_is_lost(config, aggregator, 13)
