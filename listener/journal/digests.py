"""
One effect, one row: what becomes of a row whose digest another row already holds.

The contract settles a digest once for ever, so a second send could only fail, or be taken for a first one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection, Row, select

from listener.journal.schema import tasks
from listener.model import State

_CHUNK = 500  # values in one IN list


class Digested(Protocol):
    """A row about to hold a digest."""

    @property
    def id(self) -> int: ...  # noqa: D102
    @property
    def rule(self) -> str: ...  # noqa: D102
    @property
    def digest(self) -> bytes: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Conflict:
    """
    How a row ends that cannot hold its digest.

    ``paired_id`` is the orphan that sent the same payload: its bytes are this row's too, and go out again if need be.
    """

    state: State
    reason: str
    paired_id: int | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The columns that say so."""
        return {"state": self.state, "error": self.reason, "paired_id": self.paired_id}


def conflicts_of(connection: Connection, rows: Sequence[Any]) -> dict[int, Conflict]:
    """
    Find which of these rows (id, rule, digest) cannot hold their digest.

    Returns:
        For each such row how it ends: ``skipped`` when the same rule already sent the same payload for a block that
        then left the chain, else ``failed``.

    """
    held: dict[bytes, Any] = {}
    for start in range(0, len(rows), _CHUNK):
        digests = {row.digest for row in rows[start : start + _CHUNK]}
        holders = select(tasks.c.id, tasks.c.rule, tasks.c.digest, tasks.c.orphaned).where(
            tasks.c.digest.in_(digests), tasks.c.state != State.CANCELLED
        )
        held.update((row.digest, row) for row in connection.execute(holders))
    conflicts: dict[int, Conflict] = {}
    for row in rows:
        other = held.setdefault(row.digest, row)
        if other.id != row.id:
            conflicts[row.id] = _verdict(row, other)
    return conflicts


def _verdict(row: Digested, other: Row[Any]) -> Conflict:
    if other.rule == row.rule and getattr(other, "orphaned", False):
        return Conflict(State.SKIPPED, f"same payload as task {other.id}", other.id)
    return Conflict(
        State.FAILED,
        f"same payload as task {other.id} of rule {other.rule}: a contract settles it once only; "
        "add what tells this trigger apart to the proof, such as its block number, transaction hash and log index",
    )
