"""A new journal is what all migrations together make; a newer one is refused; a reader never waits, nor makes wait."""

import contextlib
import re
import sqlite3
import time
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from world import World, block, change, fired, query

from listener.config import Url
from listener.errors import JournalError
from listener.journal import database, rows
from listener.journal.database import open_engine, require, upgrade
from listener.journal.schema import REVISION, metadata

MIGRATIONS = Path(database.__file__).with_name("migrations")


def alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def migrated(path: Path | Url) -> None:
    """Make a journal by running every migration."""
    engine = open_engine(path)
    with engine.begin() as connection:
        config = alembic()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    engine.dispose()


def made(path: Path | Url) -> None:
    engine = open_engine(path)
    upgrade(engine)
    engine.dispose()


def definitions_on_postgresql(url: Url) -> dict[str, str]:
    """The same of a PostgreSQL database: columns in their order, constraints and indexes."""
    columns = query(
        url,
        "SELECT table_name || '.' || column_name AS name, concat_ws(' ', ordinal_position, data_type, "
        "character_maximum_length, is_nullable, column_default) AS sql FROM information_schema.columns "
        "WHERE table_schema = 'public' AND table_name <> 'alembic_version'",
    )
    others = query(
        url,
        "SELECT indexname AS name, indexdef AS sql FROM pg_indexes WHERE schemaname = 'public' UNION ALL "
        "SELECT conrelid::regclass || ' ' || conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace",
    )
    return {row["name"]: row["sql"] for row in columns + others if "alembic_version" not in row["name"]}


def emptied(url: Url) -> Url:
    change(url, "DROP SCHEMA public CASCADE")
    change(url, "CREATE SCHEMA public")
    return url


def definitions(path: Path) -> dict[str, str]:
    """What the file says that it consists of, without the accidents of writing it down."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name != 'alembic_version'"
        )
        return {name: re.sub(r"[\s\"'`]+", " ", sql).strip() for name, sql in found}


def test_the_newest_migration_is_the_revision_of_the_schema() -> None:
    script = ScriptDirectory.from_config(alembic())
    assert script.get_heads() == [REVISION]
    revisions = [each.revision for each in script.walk_revisions()]
    assert sorted(revisions, reverse=True) == revisions, "revisions are compared as texts"


def test_a_new_journal_is_exactly_what_the_migrations_make(tmp_path: Path) -> None:
    made(tmp_path / "made.db")
    migrated(tmp_path / "migrated.db")
    assert definitions(tmp_path / "made.db") == definitions(tmp_path / "migrated.db")
    assert set(definitions(tmp_path / "made.db")) >= {*metadata.tables, "tasks_digest", "tasks_ready", "tasks_block"}


def test_it_is_so_on_postgresql_too(database: Url) -> None:
    made(emptied(database))
    fresh = definitions_on_postgresql(database)
    migrated(emptied(database))
    assert definitions_on_postgresql(database) == fresh
    assert {"tasks.claimed_until", "tasks_digest", "tasks tasks_key_key"} <= set(fresh)
    made(database)
    assert definitions_on_postgresql(database) == fresh


@pytest.mark.parametrize("make", [made, migrated])
def test_alembic_finds_nothing_to_change(place: Path | Url, make: object) -> None:
    make(place if isinstance(place, Path) else emptied(place))  # type: ignore[operator]
    engine = open_engine(place)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == REVISION
    engine.dispose()


def test_a_migrated_journal_needs_nothing_more(tmp_path: Path) -> None:
    migrated(tmp_path / "listener.db")
    before = definitions(tmp_path / "listener.db")
    made(tmp_path / "listener.db")
    made(tmp_path / "listener.db")
    assert definitions(tmp_path / "listener.db") == before


def test_a_newer_journal_is_refused_and_left_as_it_is(place: Path | Url) -> None:
    made(place)
    change(place, "UPDATE alembic_version SET version_num = '9999'")
    engine = open_engine(place)
    with pytest.raises(
        JournalError, match=rf"its schema 9999 is newer than this version's {REVISION}; run the version"
    ):
        upgrade(engine)
    engine.dispose()
    assert query(place, "SELECT version_num FROM alembic_version") == [{"version_num": "9999"}]


def test_a_file_that_is_no_journal_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "listener.db"
    path.write_bytes(b"not a database" * 1000)
    engine = open_engine(path)
    with pytest.raises(JournalError, match=r"journal .*listener\.db: file is not a database"):
        upgrade(engine)
    engine.dispose()


def test_a_listing_never_makes_a_journal(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no such file; `listener run` makes it"):
        require(tmp_path / "listener.db")
    assert list(tmp_path.iterdir()) == []


def test_the_write_ahead_log_is_on(tmp_path: Path) -> None:
    made(tmp_path / "listener.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "listener.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_indexes_are_used_by_who_asks_for_one_state() -> None:
    """A partial index whose condition the query does not repeat is dead weight, and the query a full scan."""
    engine = open_engine(Path(":memory:"))
    with engine.connect() as connection:
        metadata.create_all(connection)
        names = {index["name"] for index in inspect(connection).get_indexes("tasks")}
        asked = {
            "tasks_ready": "SELECT id FROM tasks WHERE state = 'ready' AND not_before <= 1 ORDER BY id LIMIT 5",
            "tasks_pending": "SELECT id FROM tasks WHERE state = 'pending' AND rule = 'a' ORDER BY id LIMIT 5",
            "tasks_running": "SELECT id FROM tasks WHERE state = 'running'",
            "tasks_off_chain": "SELECT id FROM tasks WHERE chain = 'a' AND NOT canonical",
            "tasks_block": "SELECT id FROM tasks WHERE chain = 'a' AND block_number > 5",
        }
        for index, sql in asked.items():
            assert index in names
            plan = " ".join(str(row) for row in connection.execute(text(f"EXPLAIN QUERY PLAN {sql}")))
            assert index in plan, plan
    engine.dispose()


async def test_a_reader_that_takes_its_time_does_not_keep_the_daemon_from_writing(world: World) -> None:
    await world.walk(*[fired("blocks", block(number)) for number in range(11, 1011)], to=block(1010))
    engine = open_engine(world.place)
    with engine.connect() as connection:
        listing = rows.list_tasks(connection, rows.Filter())
        next(listing)  # and the reader goes for coffee
        begun = time.monotonic()
        await world.walk(fired("blocks", block(1011)))
        assert time.monotonic() - begun < 2
        assert len(list(listing)) == 999, "it reads on what it began to read"
    engine.dispose()


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_a_reader_does_not_wait_for_a_writer(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    with contextlib.closing(sqlite3.connect(world.path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE tasks SET sends = 9")
        engine = open_engine(world.path)
        begun = time.monotonic()
        with engine.connect() as connection:
            assert [row["sends"] for row in rows.list_tasks(connection, rows.Filter())] == [0]
            found = rows.find_task(connection, 1)
            assert found is not None
            assert found["sends"] == 0
        with engine.connect() as connection:
            assert [row["name"] for row in rows.list_chains(connection)] == ["l2"]
        engine.dispose()
        assert time.monotonic() - begun < 2
        writer.execute("ROLLBACK")
