"""
The connection to PostgreSQL: what must be on disk is synced, and a connection that is lost leaves no doubt behind.

A server that goes away is a real one that is stopped, or whose backend is ended in the middle of a transaction.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import psycopg
import pytest
import sqlalchemy
from postgres import Server, query
from sqlalchemy import Connection, text
from structlog.testing import capture_logs
from world import CHAIN, RULES, World, block, change, event, fired, lapse

from listener import metrics
from listener.config import Url
from listener.errors import JournalError, Overtaken
from listener.journal import Journal, postgresql, session
from listener.journal.database import listing, open_engine
from listener.journal.session import SharedSession
from listener.journal.writer import Writer
from listener.model import State


@pytest.fixture
def place(database: Url) -> Url:
    return database


@pytest.fixture
async def writer(database: Url) -> AsyncIterator[Writer]:
    """A writer over one table, whose works remember in ``memory`` what they did."""
    change(database, "CREATE TABLE numbers (n INTEGER PRIMARY KEY)")
    engine = open_engine(database)
    memory: list[int] = []

    def save() -> Callable[[], None]:
        saved = memory.copy()
        return lambda: memory.__setitem__(slice(None), saved)

    made = Writer(SharedSession(engine, save))
    made.memory = memory  # type: ignore[attr-defined]  # for the tests
    yield made
    await made.close()
    engine.dispose()


def name_of(place: Url) -> str:
    return place.redacted.rsplit("/", 1)[1]


def numbers(place: Url) -> list[int]:
    return [row["n"] for row in query(place, "SELECT n FROM numbers ORDER BY n")]


def add(writer: Writer, number: int) -> Callable[[Connection], int]:
    def work(connection: Connection) -> int:
        writer.memory.append(number)  # type: ignore[attr-defined]
        connection.execute(text("INSERT INTO numbers VALUES (:n)"), {"n": number})
        return number

    return work


def end_backends(place: Url) -> None:
    """End every session of our database, as an operator or a restart would."""
    change(
        place,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )


# What is synced


def settings(connection: Connection) -> tuple[str, str]:
    found = [connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in ("synchronous_commit", "fsync")]
    return found[0], found[1]


@pytest.mark.parametrize(("default", "durable"), [("on", "on"), ("off", "on"), ("remote_apply", "remote_apply")])
async def test_what_must_be_on_disk_is_synced_whatever_the_server_says(
    postgresql: Server, database: Url, default: str, durable: str
) -> None:
    name = name_of(database)
    postgresql.execute(f"ALTER DATABASE {name} SET synchronous_commit = {default}")
    with capture_logs() as lines:
        journal = await Journal.open(database, RULES)
    try:
        assert (await journal._writer.run(settings, durable=True))[0] == durable
        assert (await journal._writer.run(settings))[0] == "off", "what is lost is written again"
        assert (await journal._writer.run(settings, durable=True))[0] == durable
    finally:
        await journal.close()
    warned = [line["event"] for line in lines]
    assert ("journal.commits_not_synced" in warned) == (default == "off")
    assert "journal.not_crash_safe" in warned, "the tests' server has fsync off"


async def level_of(world: World, *acts: Callable[[], Awaitable[object]]) -> list[str]:
    """Return how the commit of each of these was synced, as the server was told."""
    seen: list[str] = []
    engine = world.journal._engine

    def listen(_connection: object, _cursor: object, statement: str, parameters: tuple[str, ...], *_: object) -> None:
        if statement == postgresql._MARKED:
            seen.append(parameters[2])

    sqlalchemy.event.listen(engine, "before_cursor_execute", listen)
    levels = []
    for act in acts:
        seen.clear()
        await act()
        levels.append(seen[-1])
    return levels


async def test_payloads_and_the_beginning_of_sends_are_on_disk_before_they_are_relied_upon(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    claimed = await world.claim("blocks")
    sign, hand_out, take_back, walk, halt = await level_of(
        world,
        lambda: world.sign(claimed),
        world.hand_out,
        lambda: world.journal.take_back([]),
        lambda: world.walk(to=block(12)),
        lambda: world.journal.halt(CHAIN, "why"),
    )
    assert (sign, hand_out) == ("on", "on")
    assert (take_back, walk, halt) == ("off", "off", "off")


# Connections that are lost


async def test_a_connection_that_died_between_two_transactions_is_made_anew(writer: Writer, database: Url) -> None:
    before = metrics.journal_reconnects._value.get()
    await writer.run(add(writer, 1))
    end_backends(database)
    assert await writer.run(add(writer, 2)) == 2
    assert numbers(database) == writer.memory == [1, 2]  # type: ignore[attr-defined]
    assert metrics.journal_reconnects._value.get() == before + 1


async def test_a_transaction_whose_connection_died_is_done_again_whole(writer: Writer, database: Url) -> None:
    tries: list[int] = []

    def dies_once(connection: Connection) -> int:
        tries.append(1)
        add(writer, 2)(connection)
        if len(tries) == 1:
            end_backends(database)
        return add(writer, 3)(connection)

    assert await writer.run(add(writer, 1)) == 1
    assert await writer.run(dies_once, durable=True) == 3
    assert len(tries) == 2
    assert numbers(database) == [1, 2, 3]
    assert writer.memory == [1, 2, 3], "what the first try remembered is forgotten"  # type: ignore[attr-defined]


async def test_a_connection_that_is_stuck_in_the_middle_of_many_rows_is_lost(writer: Writer, database: Url) -> None:
    """The server said that it ends, and has not hung up yet: the driver cannot leave its pipeline any more."""
    tries: list[int] = []

    def stuck_once(connection: Connection) -> int:
        tries.append(1)
        number = add(writer, 2)(connection)
        if len(tries) == 1:
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            driver.pgconn.enter_pipeline_mode()
            driver.pgconn.send_query_params(b"SELECT 1", None)
            driver.pgconn.exit_pipeline_mode()
        return number

    assert await writer.run(stuck_once, durable=True) == 2
    assert len(tries) == 2
    assert numbers(database) == writer.memory == [2]  # type: ignore[attr-defined]


class _DiesAtCommit:
    """Ends the connection just before or just after the server commits."""

    def __init__(self, place: Url, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
        self.times = 1
        commit = psycopg.Connection.commit

        def dies(connection: psycopg.Connection[object]) -> None:
            if connection.info.transaction_status != psycopg.pq.TransactionStatus.INTRANS or not self.times:
                commit(connection)
                return
            self.times -= 1
            if after:
                commit(connection)
            end_backends(place)
            connection.execute("SELECT 1")  # finds out

        self.arm = lambda: monkeypatch.setattr(psycopg.Connection, "commit", dies)


@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
async def test_a_commit_whose_answer_is_lost_counts_once(
    writer: Writer, database: Url, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    """Were it done again after the server kept it, the second insert would fail; were it dropped, a row would lack."""
    runs: list[int] = []
    await writer.run(add(writer, 1))
    _DiesAtCommit(database, monkeypatch, after=after).arm()

    def work(connection: Connection) -> int:
        runs.append(1)
        return add(writer, 2)(connection)

    assert await writer.run(work, durable=True) == 2
    assert len(runs) == (1 if after else 2)
    assert numbers(database) == writer.memory == [1, 2]  # type: ignore[attr-defined]


async def test_a_commit_that_another_server_lost_is_done_again_whatever_number_it_had(
    writer: Writer, database: Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A standby that took over, or a crash of commits not synced: the mark is gone with the rest."""
    await writer.run(add(writer, 1))
    _DiesAtCommit(database, monkeypatch, after=True).arm()
    connect = postgresql.connect

    def forgetful(engine: sqlalchemy.Engine, deadline: float) -> Connection:
        change(database, "DELETE FROM numbers WHERE n = 2")
        change(database, "DELETE FROM facts")
        return connect(engine, deadline)

    monkeypatch.setattr(session.postgresql, "connect", forgetful)
    assert await writer.run(add(writer, 2)) == 2
    assert numbers(database) == writer.memory == [1, 2]  # type: ignore[attr-defined]


async def test_a_writer_leaves_one_mark_and_old_ones_go(writer: Writer, database: Url) -> None:
    change(database, "INSERT INTO facts VALUES ('writer old', '1700000000000000000'), ('held', 'not a mark')")
    for number in range(3):
        await writer.run(add(writer, number))
    names = [row["name"] for row in query(database, "SELECT name FROM facts ORDER BY name")]
    assert names[0] == "held"
    assert len(names) == 2
    assert names[1] != "writer old"


async def test_a_server_that_stays_away_stops_the_daemon_with_one_line(
    writer: Writer, database: Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "REDO_S", 0.3)
    await writer.run(add(writer, 1))
    name = name_of(database)
    away = Url(database.get_secret_value().replace(name, "postgres"))
    change(away, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    change(away, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")  # noqa: S608
    with pytest.raises(JournalError, match=rf"^journal postgresql:///{name}: .*not currently accepting connections$"):
        await writer.run(add(writer, 2))
    change(away, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert numbers(database) == [1]


async def test_a_claim_whose_transaction_was_lost_is_given_out_once(world: World) -> None:
    """The journal's memory of what it gave out goes back with the transaction."""
    await world.walk(*[fired("blocks", block(number)) for number in (11, 12, 13)])
    walked = world.journal._claims._given.copy()
    died: list[int] = []
    take = world.journal._claims.take

    def dies_once(connection: Connection, *rest: object) -> object:
        taken = take(connection, *rest)  # type: ignore[arg-type]
        if not died:
            died.append(1)
            end_backends(world.place)  # type: ignore[arg-type]
        return taken

    world.journal._claims.take = dies_once  # type: ignore[method-assign, assignment]
    claimed = await world.claim("blocks", slots=2, received=0)
    assert died
    assert [task.id for task in claimed] == [1, 2]
    assert world.journal._claims._given["blocks"] - walked["blocks"] == 2
    assert [row["attempts"] for row in world.rows().values()] == [1, 1, 0]


async def test_a_parcel_whose_transaction_was_lost_is_handed_out_once(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    died: list[int] = []
    serve = world.journal._outbox.serve

    def dies_once(connection: Connection, now: int, after: int = 0) -> object:
        parcels = serve(connection, now, after)
        if not died:
            died.append(1)
            end_backends(world.place)  # type: ignore[arg-type]
        return parcels

    world.journal._outbox.serve = dies_once  # type: ignore[method-assign, assignment]
    (parcel,) = await world.hand_out()
    assert died
    assert parcel.fresh, "nothing of the first try went out"
    await world.accept([parcel])
    assert (world.states(), world.row()["sends"]) == (["accepted"], 1)


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """One that a test may stop."""
    with Server() as server:
        yield server


@pytest.mark.parametrize("how", ["fast", "immediate"])
async def test_a_server_that_is_restarted_costs_nothing_but_time(own_server: Server, how: str) -> None:
    """What was not synced may be gone after a crash; then it is walked and executed again, under the same keys."""
    with own_server.database() as place:
        async with World(place) as world:
            restarts = 0

            async def restart() -> None:
                nonlocal restarts
                for _ in range(2):
                    await asyncio.sleep(0.05)
                    await asyncio.to_thread(own_server.stop, how)
                    await asyncio.to_thread(own_server.start)
                    restarts += 1

            walked = 0
            async with asyncio.TaskGroup() as group:
                restarting = group.create_task(restart())
                while walked < 100 or not restarting.done():
                    walked += 1
                    world.cursor = world.journal.cursors[CHAIN]
                    with contextlib.suppress(Overtaken):
                        await world.walk(event("events", block(world.cursor.number + 1), tx=world.cursor.number))
                    states = await world.execute("events")
                    assert set(states.values()) <= {State.READY}
                    await world.send_all()
            assert restarts == 2
            lapse(place)
            await world.journal.recover({})
            while task := await world.claim_suspect("events"):
                await world.sign([task])
            await world.execute("events")
            await world.send_all()
            rows = world.rows()
            assert [row["block_number"] for row in rows.values()] == list(range(11, 11 + len(rows)))
            assert {row["state"] for row in rows.values()} == {"accepted"}
            assert world.written_cursor().number == 10 + len(rows)


# Refusals


def test_a_listing_makes_no_tables(database: Url) -> None:
    change(database, "DROP SCHEMA public CASCADE")
    change(database, "CREATE SCHEMA public")
    with pytest.raises(JournalError, match="it has no tables; `listener run` makes them"), listing(database):
        pass
    assert query(database, "SELECT * FROM pg_tables WHERE schemaname = 'public'") == []


def test_a_password_that_a_driver_quotes_is_left_out_of_the_line() -> None:
    engine = open_engine(Url("postgresql://ann:a%2Fword-7@db.example/tasks?sslpassword=other-8"))
    error = psycopg.OperationalError('bad conninfo\n\t"user=ann password=a/word-7 sslpassword=other-8"')
    assert postgresql.said(engine, error) == 'bad conninfo "user=ann password=*** sslpassword=***"'
    assert postgresql.name_of(engine) == "postgresql://db.example/tasks"
