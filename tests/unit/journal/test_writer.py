"""One thread writes for all: what waits is committed together, or fails together."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from listener.errors import JournalError
from listener.journal.database import open_engine
from listener.journal.session import Session
from listener.journal.writer import Writer


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    engine = open_engine(tmp_path / "numbers.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE numbers (n INTEGER PRIMARY KEY)"))
    made = Writer(Session(engine))
    yield made
    await made.close()
    engine.dispose()


def add(number: int) -> Callable[[Connection], int]:
    def work(connection: Connection) -> int:
        connection.execute(text("INSERT INTO numbers VALUES (:n)"), {"n": number})
        return number

    return work


def numbers(tmp_path: Path) -> list[int]:
    connection = sqlite3.connect(tmp_path / "numbers.db")
    try:
        return [row[0] for row in connection.execute("SELECT n FROM numbers ORDER BY n")]
    finally:
        connection.close()


async def together(writer: Writer, *works: Callable[[Connection], Any]) -> list[Any]:
    """Hold the writer until all of these wait, so that they become one group; an error stands for its result."""
    gate = threading.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(writer.run(lambda _connection: gate.wait(5)))
        await asyncio.sleep(0.02)
        running = [
            group.create_task(outcome(writer.run(work, durable=index % 2 == 0))) for index, work in enumerate(works)
        ]
        await asyncio.sleep(0.02)
        gate.set()
    return [task.result() for task in running]


async def outcome(work: Awaitable[Any]) -> Any:
    try:
        return await work
    except (JournalError, ValueError) as error:
        return error


async def test_work_returns_after_its_commit(writer: Writer, tmp_path: Path) -> None:
    assert await writer.run(add(1)) == 1
    assert numbers(tmp_path) == [1]
    assert await writer.run(add(2), durable=True) == 2
    assert numbers(tmp_path) == [1, 2]


async def test_work_runs_in_the_order_it_was_given_and_in_one_thread(writer: Writer) -> None:
    seen: list[tuple[int, int]] = []

    def work(number: int) -> Callable[[Connection], None]:
        return lambda _connection: seen.append((number, threading.get_ident()))

    await together(writer, *map(work, range(300)))
    assert [number for number, _ in seen] == list(range(300))
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1] != threading.get_ident()


async def test_what_waits_is_one_transaction(writer: Writer) -> None:
    def transaction(connection: Connection) -> int:
        return id(connection.get_transaction())

    assert len(set(await together(writer, *[transaction] * 10))) == 1


async def test_a_group_that_fails_fails_for_all_and_leaves_nothing_behind(writer: Writer, tmp_path: Path) -> None:
    """What cannot be remembered stops the daemon: it must not go on with half of what it meant to write."""

    def half(connection: Connection) -> None:
        add(7)(connection)
        raise ValueError("half-way")

    results = await together(writer, add(1), half, add(2))
    assert [str(result) for result in results] == ["half-way"] * 3
    assert numbers(tmp_path) == []


async def test_an_error_of_the_database_becomes_one_of_the_journal(writer: Writer) -> None:
    with pytest.raises(JournalError, match="nothing of this step was written"):
        await writer.run(lambda connection: connection.execute(text("INSERT INTO nowhere VALUES (1)")))


async def test_an_error_of_the_driver_itself_becomes_one_of_the_journal_too(writer: Writer) -> None:
    """Hot statements go past SQLAlchemy, and so do their errors."""

    def raw(connection: Connection) -> None:
        connection.connection.cursor().execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(JournalError, match="nowhere"):
        await writer.run(raw)


async def test_the_writer_works_on_after_an_error(writer: Writer, tmp_path: Path) -> None:
    for _ in range(3):
        with pytest.raises(JournalError):
            await writer.run(lambda connection: connection.execute(text("SELECT * FROM nowhere")))
    await writer.run(add(1))
    assert numbers(tmp_path) == [1]


async def test_nobody_waits_for_ever_when_the_one_who_asked_has_gone(writer: Writer, tmp_path: Path) -> None:
    gate = threading.Event()
    held = asyncio.ensure_future(writer.run(lambda _connection: gate.wait(5)))
    given_up = asyncio.ensure_future(writer.run(add(1)))
    others = asyncio.ensure_future(writer.run(add(2)))
    await asyncio.sleep(0.02)
    given_up.cancel()
    gate.set()
    await held
    assert await others == 2
    assert numbers(tmp_path) == [1, 2]


async def test_a_journal_that_is_locked_for_a_while_is_waited_for(writer: Writer, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "numbers.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO numbers VALUES (1)")
    asyncio.get_running_loop().call_later(0.2, other.execute, "COMMIT")
    await writer.run(add(2))
    other.close()
    assert numbers(tmp_path) == [1, 2]


async def test_a_stalled_write_does_not_stall_the_loop(writer: Writer) -> None:
    gate = threading.Event()
    held = asyncio.ensure_future(writer.run(lambda _connection: gate.wait(5)))
    for _ in range(10):
        await asyncio.sleep(0.001)
    assert not held.done()
    gate.set()
    await held


async def test_closing_finishes_what_was_given_before(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "numbers.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE numbers (n INTEGER PRIMARY KEY)"))
    writer = Writer(Session(engine))
    running = [asyncio.ensure_future(writer.run(add(number))) for number in range(200)]
    await asyncio.sleep(0)
    await writer.close()
    assert await asyncio.gather(*running) == list(range(200))
    assert numbers(tmp_path) == list(range(200))
    engine.dispose()
