"""
Statements that run for every task: written in SQLAlchemy Core, compiled once, executed on the driver's own cursor.

The general path builds, caches and wraps at each call, which takes seven times as long as the statement itself; here a
task pays it four times. Values go to the driver as they are: ints, texts, bytes, booleans and None.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from sqlalchemy import Connection, Executable
from sqlalchemy.exc import CompileError
from sqlalchemy.sql.compiler import SQLCompiler


class Statement:
    """
    One statement with named parameters (``bindparam``); what Core bound itself stays bound.

    Args:
        construct: the statement.
        postgresql: makes the one for PostgreSQL where it is another. Called when it is needed, for it may import much.
    """

    def __init__(self, construct: Executable, *, postgresql: Callable[[], Executable] | None = None) -> None:
        self._construct = construct
        self._postgresql = postgresql
        self._compiled: dict[str, tuple[str, list[tuple[str, Any]] | None, dict[str, Any]]] = {}

    def fetch(self, connection: Connection, parameters: Mapping[str, Any]) -> list[Any]:
        """Execute and return the rows, as plain tuples."""
        sql, values = self._ready(connection, [parameters])
        cursor = connection.connection.cursor()
        try:
            cursor.execute(sql, next(values))
            return list(cursor.fetchall())
        finally:
            cursor.close()

    def run(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> int:
        """Execute for each of the parameter sets, made one at a time; return how many rows were changed in all."""
        sql, values = self._ready(connection, rows)
        cursor = connection.connection.cursor()
        try:
            cursor.executemany(sql, cast("list[Any]", values))  # any iterable: rows are not held all at once
            return int(cursor.rowcount)
        finally:
            cursor.close()

    def _ready(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> tuple[str, Iterator[Any]]:
        sql, places, bound = self._compiled.get(connection.dialect.name) or self._compile(connection)
        if places is None:
            return sql, ({**bound, **row} for row in rows)
        return sql, ([row.get(name, value) for name, value in places] for row in rows)

    def _compile(self, connection: Connection) -> tuple[str, list[tuple[str, Any]] | None, dict[str, Any]]:
        makes = self._postgresql if connection.dialect.name == "postgresql" else None
        construct = self._construct if makes is None else makes()
        compiled = construct.compile(dialect=connection.dialect)  # type: ignore[attr-defined]  # a ClauseElement
        if not isinstance(compiled, SQLCompiler):
            raise CompileError(f"not a statement with parameters: {compiled}")
        bound = dict(compiled.params)
        places = None if compiled.positiontup is None else [(name, bound[name]) for name in compiled.positiontup]
        ready = (str(compiled), places, bound)
        self._compiled[connection.dialect.name] = ready
        return ready
