"""A copy is whole, of one moment, and held; restoring one loses nothing of what stood in its place."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest
from world import CHAIN, RULES, World, block, fired, query

from listener.errors import JournalError, NotPossible
from listener.journal import Journal
from listener.journal.backup import back_up, restore
from listener.journal.lock import OwnerLock


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Give a journal in SQLite alone: a server's database is backed up by its own tools."""
    return tmp_path / "listener.db"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder / "copy.db"


def tasks(path: Path) -> list[str]:
    return [row["state"] for row in query(path, "SELECT state FROM tasks ORDER BY id")]


def read(path: Path) -> bytes:
    return path.read_bytes()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_copy_is_one_whole_file_that_only_its_owner_reads(world: World, copy: Path) -> None:
    await world.walk(*[fired("blocks", block(number)) for number in (11, 12)])
    size = back_up(world.path, copy)
    assert size == len(read(copy)) > 0
    assert mode(copy) == 0o600
    assert names(copy.parent) == ["copy.db"]
    assert tasks(copy) == ["pending", "pending"]
    assert query(world.place, "SELECT * FROM facts") == [], "the journal itself is not held"


async def test_a_copy_that_is_taken_while_the_journal_is_written_is_of_one_moment(world: World, copy: Path) -> None:
    """Cursor and tasks are written together, so they agree in any copy."""

    async def write() -> None:
        for number in range(11, 400):
            await world.walk(fired("blocks", block(number)))

    writing = asyncio.create_task(write())
    taken = 0
    while not writing.done():
        await asyncio.to_thread(back_up, world.path, copy, overwrite=True)
        (chain,) = query(copy, "SELECT number FROM chains")
        assert [row["block_number"] for row in query(copy, "SELECT block_number FROM tasks ORDER BY id")] == list(
            range(11, chain["number"] + 1)
        )
        taken += 1
    await writing
    assert taken >= 2
    assert len(world.rows()) == 389


async def test_a_copy_is_held_however_it_gets_back_into_place(world: World, copy: Path, tmp_path: Path) -> None:
    back_up(world.path, copy)
    shutil.copy(copy, tmp_path / "other.db")
    journal = await Journal.open(tmp_path / "other.db", RULES)
    try:
        with pytest.raises(NotPossible, match="held, from the backup that was taken at 2"):
            await journal.resume(None)
    finally:
        await journal.close()


async def test_a_file_that_is_there_is_replaced_by_name_alone(world: World, copy: Path) -> None:
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        connection.execute("CREATE TABLE precious (name TEXT)")
    before = read(copy)
    with pytest.raises(NotPossible, match=r"it is there already.*--overwrite"):
        back_up(world.path, copy)
    assert read(copy) == before
    back_up(world.path, copy, overwrite=True)
    assert tasks(copy) == []


async def test_a_place_where_no_copy_can_go_is_named(world: World, copy: Path) -> None:
    for target, said in (
        (copy.parent, "it is a folder"),
        (copy.parent / "nowhere" / "copy.db", "No such file or directory"),
        (world.path, "it is the journal itself"),
    ):
        with pytest.raises((NotPossible, JournalError), match=said):
            back_up(world.path, target, overwrite=True)
    assert names(copy.parent) == []


async def test_restoring_keeps_the_journal_that_stood_there(tmp_path: Path, copy: Path) -> None:
    async with World(tmp_path / "listener.db") as world:
        await world.walk(fired("blocks", block(11)))
        back_up(world.path, copy)
        await world.walk(fired("blocks", block(12)))
    done = restore(copy, world.path)
    assert tasks(world.path) == ["pending"]
    assert done.cursors == {CHAIN: 11}
    assert done.moved_to is not None
    assert tasks(done.moved_to) == ["pending", "pending"]
    assert names(copy.parent) == ["copy.db"]
    assert query(world.place, "SELECT name FROM facts") == [{"name": "held"}]


async def test_what_a_killed_process_left_beside_the_journal_does_not_get_into_the_restored_one(
    tmp_path: Path, copy: Path
) -> None:
    async with World(tmp_path / "listener.db") as world:
        back_up(world.path, copy)
        await world.walk(*[fired("blocks", block(number)) for number in range(11, 40)])
        for end in ("", "-wal", "-shm"):  # as they lie there when a process is killed
            shutil.copy(f"{world.path}{end}", tmp_path / f"killed.db{end}")
    killed = tmp_path / "killed.db"
    assert (tmp_path / "killed.db-wal").stat().st_size > 0
    done = restore(copy, killed)
    assert tasks(killed) == []
    assert done.moved_to is not None
    assert len(tasks(done.moved_to)) == 29


async def test_what_a_reader_keeps_beside_the_journal_does_not_get_into_the_restored_one(
    tmp_path: Path, copy: Path
) -> None:
    async with World(tmp_path / "listener.db") as world:
        back_up(world.path, copy)
        reader = sqlite3.connect(world.path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM tasks").fetchall()  # a listing in somebody's pager
        await world.walk(*[fired("blocks", block(number)) for number in range(11, 40)])
    assert len(read(Path(f"{world.path}-wal"))) > 0
    done = restore(copy, world.path)
    reader.close()
    assert tasks(world.path) == []
    assert done.moved_to is not None
    assert len(tasks(done.moved_to)) == 29


async def test_a_journal_that_cannot_be_read_is_kept_as_it_is_with_what_belongs_to_it(
    world: World, copy: Path, tmp_path: Path
) -> None:
    back_up(world.path, copy)
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"garbage" * 1000)
    (tmp_path / "broken.db-wal").write_bytes(b"more of it")
    done = restore(copy, broken)
    assert tasks(broken) == []
    assert done.moved_to is not None
    assert read(done.moved_to) == b"garbage" * 1000
    assert read(Path(f"{done.moved_to}-wal")) == b"more of it"
    assert not (tmp_path / "broken.db-wal").exists()


async def test_a_journal_is_restored_where_none_stands(world: World, copy: Path, tmp_path: Path) -> None:
    back_up(world.path, copy)
    (tmp_path / "new.db-wal").write_bytes(b"of a journal that somebody removed")
    done = restore(copy, tmp_path / "new.db")
    assert (done.moved_to, done.cursors) == (None, {CHAIN: 10})
    assert not (tmp_path / "new.db-wal").exists()
    assert tasks(tmp_path / "new.db") == []


async def test_a_plain_copy_is_restored_and_held_as_well(world: World, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(world.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(world.path, tmp_path / "plain.db")
    done = restore(tmp_path / "plain.db", tmp_path / "new.db")
    assert "plain.db, a copy of unknown age" in done.held
    assert query(tmp_path / "new.db", "SELECT name FROM facts") == [{"name": "held"}]


async def test_what_is_no_whole_journal_is_not_restored_and_changes_nothing(copy: Path, tmp_path: Path) -> None:
    async with World(tmp_path / "listener.db") as world:
        await world.walk(*[fired("blocks", block(number)) for number in range(11, 300)], to=block(299))
        back_up(world.path, copy)
    whole = read(copy)
    with contextlib.closing(sqlite3.connect(tmp_path / "foreign.db")) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
        connection.commit()
    newer = tmp_path / "newer.db"
    shutil.copy(copy, newer)
    with contextlib.closing(sqlite3.connect(newer)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    (tmp_path / "text.db").write_text("a text that somebody wrote, long enough to be read as a header")
    (tmp_path / "short.db").write_bytes(whole[: len(whole) // 2])
    middle = len(whole) // 2 // 4096 * 4096
    (tmp_path / "garbled.db").write_bytes(whole[:middle] + os.urandom(8192) + whole[middle + 8192 :])
    before, listed = read(world.path), names(tmp_path)
    for name, said in (
        ("absent.db", "no such file"),
        ("foreign.db", "it is no journal"),
        ("newer.db", "schema 9999 is newer"),
        ("text.db", "not a database"),
        ("short.db", "malformed|damaged"),
        ("garbled.db", "malformed|damaged"),
        ("listener.db", "it is the journal itself"),
    ):
        with pytest.raises((JournalError, NotPossible), match=said) as caught:
            restore(tmp_path / name, world.path)
        assert len(str(caught.value).splitlines()) == 1
    assert read(world.path) == before
    assert names(tmp_path) == listed


async def test_nothing_is_restored_over_a_journal_that_somebody_owns(world: World, copy: Path) -> None:
    back_up(world.path, copy)
    await world.walk(fired("blocks", block(11)))
    with pytest.raises(JournalError, match="owns it"):
        restore(copy, world.path)
    assert world.states() == ["pending"]


async def test_a_restored_journal_is_not_kept_locked(world: World, copy: Path, tmp_path: Path) -> None:
    back_up(world.path, copy)
    restore(copy, tmp_path / "new.db")
    OwnerLock(tmp_path / "new.db").release()
