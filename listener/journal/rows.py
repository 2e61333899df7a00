"""
Tasks and chains as the outside sees them: field names and forms that scripts and dashboards rely on.

Hashes and bytes are lower-case ``0x`` hex, addresses checksummed, times RFC 3339 in UTC with ``Z``; what is absent is
None, never left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select

from listener.journal.schema import chains, in_state, replaced, tasks
from listener.model import State

FIELDS = (
    "id",
    "key",
    "rule",
    "state",
    "trigger",
    "chain",
    "block_number",
    "block_hash",
    "epoch",
    "transaction_hash",
    "log_index",
    "task_definition_id",
    "proof_of_task",
    "data",
    "performer",
    "digest",
    "signature",
    "attempts",
    "sends",
    "orphaned",
    "already_known",
    "created_at",
    "sent_at",
    "accepted_at",
    "settled_at",
    "task_number",
    "outcome_transaction_hash",
    "error",
)
RECENT = 10_000  # tasks that a summary looks at
OPEN = (State.PENDING, State.RUNNING, State.READY)
ERRORS = (State.FAILED, State.REJECTED)
_TIMES = frozenset({"created_at", "sent_at", "accepted_at", "settled_at", "replaced_at"})
_COLUMNS = [tasks.c[name] for name in FIELDS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """
    Which tasks to list; times are microseconds since the epoch, ``blocks`` is inclusive at both ends.

    They come oldest first, or ``newest_first``; ``after`` is the id of the last one that is known already.
    """

    states: Sequence[str] = ()
    rule: str | None = None
    blocks: tuple[int, int] | None = None
    since: int | None = None
    until: int | None = None
    limit: int | None = None
    newest_first: bool = False
    after: int | None = None


def list_tasks(connection: Connection, wanted: Filter) -> Iterator[dict[str, Any]]:
    """Yield every matching task, in order, without holding them all in memory."""
    rows = _reading(connection).execution_options(yield_per=500).execute(_query(wanted))
    for row in rows:
        yield as_task(row)


def find_task(connection: Connection, task_id: int) -> dict[str, Any] | None:
    """Return one task, or None."""
    row = _reading(connection).execute(select(*_COLUMNS).where(tasks.c.id == task_id)).first()
    return None if row is None else as_task(row)


def count_tasks(connection: Connection) -> dict[str, dict[str, int]]:
    """
    Return how many tasks each rule has by state, of the newest RECENT ones and of all that are open.

    Older ones are left out: to count them all would read the whole journal.
    """
    oldest = _oldest_recent(connection)
    by_rule = select(tasks.c.rule, tasks.c.state, func.count()).group_by(tasks.c.rule, tasks.c.state)
    queries = [by_rule.where(tasks.c.id >= oldest)]
    queries += [by_rule.where(tasks.c.id < oldest, in_state(state)) for state in OPEN]
    found: dict[str, dict[str, int]] = {}
    for query in queries:
        for rule, state, count in connection.execute(query.order_by(tasks.c.rule, tasks.c.state)):
            states = found.setdefault(rule, {})
            states[state] = states.get(state, 0) + count
    return found


def last_errors(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """Return the newest failed or rejected tasks, of the newest RECENT, newest first."""
    query = select(*_COLUMNS).where(tasks.c.id >= _oldest_recent(connection), tasks.c.state.in_(ERRORS))
    return [as_task(row) for row in connection.execute(query.order_by(tasks.c.id.desc()).limit(limit))]


def list_replaced(connection: Connection, task_id: int) -> list[dict[str, Any]]:
    """Return the payloads of a task that an operator had replaced, oldest first."""
    names = ("replaced_at", "proof_of_task", "data", "performer", "digest", "signature")
    rows = _reading(connection).execute(
        select(*(replaced.c[name] for name in names)).where(replaced.c.task_id == task_id).order_by(replaced.c.id)
    )
    return [{name: _shown(name, value) for name, value in zip(names, row, strict=True)} for row in rows]


def list_chains(connection: Connection) -> list[dict[str, Any]]:
    """Return every chain that was ever followed, by name."""
    return [
        {
            "name": row.name,
            "chain_id": row.chain_id,
            "cursor": row.number,
            "cursor_hash": "0x" + row.hash.hex(),
            "head": row.head,
            "lag": max(row.head - row.number, 0),
            "state": "following" if row.halted is None else "halted",
            "error": row.halted,
            "updated_at": as_time(row.updated_at),
        }
        for row in _reading(connection).execute(select(chains).order_by(chains.c.name))
    ]


def as_task(row: Any) -> dict[str, Any]:
    """Return a task's row as the outside sees it."""
    return {name: _shown(name, value) for name, value in zip(FIELDS, row, strict=True)}


def as_time(micros: int) -> str:
    """Write a time as RFC 3339, UTC, microseconds."""
    moment = datetime.fromtimestamp(micros // 1_000_000, UTC).replace(microsecond=micros % 1_000_000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _reading(connection: Connection) -> Connection:
    """Make sure that the transaction about to begin takes no lock that a writer needs."""
    return connection.execution_options(reading=True)


def _shown(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _TIMES:
        return as_time(value)
    return "0x" + value.hex() if isinstance(value, bytes) else value


def _oldest_recent(connection: Connection) -> int:
    newest = _reading(connection).execute(select(func.max(tasks.c.id))).scalar()
    return (newest or 0) - RECENT + 1


def _query(wanted: Filter) -> Select[Any]:
    query = select(*_COLUMNS).order_by(tasks.c.id.desc() if wanted.newest_first else tasks.c.id)
    if wanted.after is not None:
        query = query.where(tasks.c.id < wanted.after if wanted.newest_first else tasks.c.id > wanted.after)
    if wanted.states:
        query = query.where(tasks.c.state.in_(wanted.states))
    if wanted.rule is not None:
        query = query.where(tasks.c.rule == wanted.rule)
    if wanted.blocks is not None:
        query = query.where(tasks.c.block_number.between(*wanted.blocks))
    if wanted.since is not None:
        query = query.where(tasks.c.created_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(tasks.c.created_at < wanted.until)
    return query if wanted.limit is None else query.limit(wanted.limit)
