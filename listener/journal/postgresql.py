"""
The PostgreSQL server behind a journal that several processes share.

Who writes holds one lock of the whole journal from the first statement of a transaction to its commit, as on SQLite: so
what a step reads is still so when it writes, whoever else is at work. Readers never wait. Each daemon also holds a
second lock, shared, for as long as its session lives: who needs the journal alone learns from it who does not sleep.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import structlog
from sqlalchemy import Connection, Engine, create_engine, delete, event, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from listener.config import Url
from listener.errors import JournalError
from listener.journal.schema import facts, suit_postgresql
from listener.journal.work import as_text

log = structlog.get_logger()

OLDEST = 13  # the server's major version, whose functions are used here
WAIT_S = 30.0  # for a server that is down or starting
AGAIN_S = 0.2  # between two tries
CONNECT_S = 5
# Named locks of the database: the class is ours, the object is the schema that holds the tables.
_WRITING, _OWNING = 0x4C57, 0x4C4F
_SCHEMA = "hashtext(coalesce(current_schema(), ''))"
# One statement, since each costs a journey: the lock, how the commit is to be synced, and that a process which froze in
# the middle must not keep the others waiting.
_BEGIN = (
    f"SELECT pg_advisory_xact_lock({_WRITING}, {_SCHEMA}), set_config('synchronous_commit', %s, true), "
    "set_config('idle_in_transaction_session_timeout', '10s', true)"
)
# A transaction's mark is in the journal exactly if the transaction is. Its number would not say so: a server that
# crashed gives it to another one, and a standby that took over as well.
_MARKED = (
    "WITH mark AS (INSERT INTO facts (name, value) VALUES (%s, %s) "  # noqa: S608 - our own constants
    f"ON CONFLICT (name) DO UPDATE SET value = excluded.value) {_BEGIN}"
)
_MARK = "writer "
_HOLDERS = f"""
    SELECT application_name, pid FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND classid = {_OWNING} AND objid::bigint = ({_SCHEMA}::bigint & 4294967295)
    AND objsubid = 2 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND granted AND pid <> pg_backend_pid()
"""  # noqa: S608 - our own constants
_STARTING = ("starting up", "shutting down", "too many", "remaining connection slots", "recovery")


def open_engine(url: Url) -> Engine:
    """
    Make the engine of a journal on PostgreSQL; nothing is opened yet.

    A transaction takes the writers' lock when it begins, unless the execution option ``reading`` is set, and is synced
    to disk, unless the option ``durable`` is False. With the option ``mark`` it can be asked later whether it was kept.
    """
    suit_postgresql()
    parts = urlsplit(url.get_secret_value())
    target = URL.create(
        "postgresql+psycopg",
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        host=parts.hostname,
        port=parts.port,
        database=unquote(parts.path.removeprefix("/")),
        query={name: values[-1] for name, values in parse_qs(parts.query).items()},
    )
    known: dict[str, Any] = {
        "connect_timeout": CONNECT_S,
        "application_name": f"listener {os.getpid()} on {socket.gethostname()}"[:63],
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }
    chosen = {name: value for name, value in known.items() if name not in target.query}
    engine = create_engine(target, poolclass=NullPool, connect_args=chosen, isolation_level="READ COMMITTED")
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def name_of(engine: Engine) -> str:
    """Name the database for people, without a user or a password."""
    url = engine.url
    port = "" if url.port is None else f":{url.port}"
    return f"postgresql://{url.host or ''}{port}/{url.database}"


def said(engine: Engine, error: BaseException) -> str:
    """Return what the driver said as one line without a password."""
    text = " ".join(as_text(str(getattr(error, "orig", None) or error)).split())
    hidden = [engine.url.password, *(value for name, value in engine.url.query.items() if "password" in name)]
    for word in hidden:
        if word:
            text = text.replace(str(word), "***")
    return text


def connect(engine: Engine, deadline: float) -> Connection:
    """
    Connect, and wait for a server that is down or starting until ``deadline``, on ``time.monotonic()``.

    Raises:
        JournalError: it cannot be reached in time, or refuses us.

    """
    told = False
    while True:
        try:
            return engine.connect()
        except (SQLAlchemyError, engine.dialect.loaded_dbapi.Error) as error:
            why = said(engine, error)
            refused = "FATAL" in why and not any(word in why for word in _STARTING)
            if refused or time.monotonic() >= deadline:
                raise JournalError(f"journal {name_of(engine)}: {why}") from error
        if not told:
            log.warning("journal.unreachable", url=name_of(engine), reason=why)
            told = True
        time.sleep(AGAIN_S)


@contextmanager
def connected(engine: Engine, wait_s: float) -> Iterator[Connection]:
    """Give a connection, once the server is there; what fails on it is a ``JournalError``."""
    connection = connect(engine, time.monotonic() + wait_s)
    try:
        with connection:
            yield connection
    except (SQLAlchemyError, engine.dialect.loaded_dbapi.Error) as error:
        raise JournalError(f"journal {name_of(engine)}: {said(engine, error)}") from error


def examine(connection: Connection) -> None:
    """
    Make sure that the server can keep what it is given.

    Raises:
        JournalError: it is too old, or the database cannot hold every text.

    """
    name = name_of(connection.engine)
    version = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000
    if version < OLDEST:
        raise JournalError(f"journal {name}: PostgreSQL {version} is too old; it takes {OLDEST} or newer")
    settings = {
        each: connection.exec_driver_sql(f"SHOW {each}").scalar_one()
        for each in ("server_encoding", "fsync", "full_page_writes")
    }
    if settings["server_encoding"] != "UTF8":
        raise JournalError(
            f"journal {name}: its encoding is {settings['server_encoding']}; make the database with ENCODING 'UTF8'"
        )
    off = [each for each in ("fsync", "full_page_writes") if settings[each] != "on"]
    if off:
        log.warning("journal.not_crash_safe", url=name, off=off, reason="a power cut may destroy the whole database")
    if turn_of(connection).default == "off":
        log.warning(
            "journal.commits_not_synced",
            url=name,
            reason="synchronous_commit is off at the server; it is set to on where a commit must be on disk",
        )


def own(connection: Connection, *, alone: bool) -> None:
    """
    Say for the rest of this session that we are at work, or that nobody else may be.

    Raises:
        JournalError: another process is in the way.

    """
    kind = "" if alone else "_shared"
    free = connection.exec_driver_sql(f"SELECT pg_try_advisory_lock{kind}({_OWNING}, {_SCHEMA})").scalar_one()
    holders = [] if free else [f"{row[0]} (backend {row[1]})" for row in connection.exec_driver_sql(_HOLDERS)]
    if not free:
        names = ", ".join(holders) or "another process"
        what = f"in use by {names}; stop it first" if alone else f"held by {names} alone; start again when it has ended"
        raise JournalError(f"journal {name_of(connection.engine)}: {what}")


def new_mark(writer: str) -> tuple[str, str]:
    """Make the mark of a writer's next transaction, for the execution option ``mark``."""
    return f"{_MARK}{writer[:16]}", str(time.time_ns())


def is_kept(connection: Connection, mark: tuple[str, str]) -> bool:
    """Tell whether the transaction with this mark was committed; its writer must not write any longer."""
    return connection.execute(select(facts.c.value).where(facts.c.name == mark[0])).scalar() == mark[1]


def forget_marks(connection: Connection) -> None:
    """Remove the marks of writers that ended long ago."""
    yesterday = str(time.time_ns() - 86_400 * 10**9)
    connection.execute(delete(facts).where(facts.c.name.startswith(_MARK), facts.c.value < yesterday))


@dataclass(slots=True)
class Turn:
    """What is known of a connection, also when it is lost."""

    driver: Any
    default: str  # the server's synchronous_commit
    synced: str  # ours, where a commit must be on disk

    @property
    def is_lost(self) -> bool:
        """Whether the connection is gone, or stuck: a server that ends in the middle of many rows leaves it so."""
        return bool(self.driver.closed or self.driver.pgconn.pipeline_status)


def turn_of(connection: Connection) -> Turn:
    """Return what is known of a connection."""
    found: Turn = connection.info["turn"]
    return found


@contextmanager
def reading(connection: Connection) -> Iterator[None]:
    """Ask without the writers' lock."""
    connection.execution_options(reading=True)
    yield
    connection.commit()
    connection.execution_options(reading=False)


def _configure(connection: Any, record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '30s'")
        default = cursor.execute("SHOW synchronous_commit").fetchone()[0]
    connection.commit()
    record.info["turn"] = Turn(connection, default, "on" if default == "off" else default)


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("reading"):
        return
    turn, mark = turn_of(connection), options.get("mark")
    synced = turn.synced if options.get("durable", True) else "off"
    if mark is None:
        connection.exec_driver_sql(_BEGIN, (synced,))
    else:
        connection.exec_driver_sql(_MARKED, (*mark, synced))
