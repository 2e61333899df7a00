"""
One effect, one row: what becomes of a row whose digest another row already holds.

The contract settles a digest once for ever, so a second send could only fail, or be taken for a first one.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, Row, select

from listener.journal.schema import tasks
from listener.model import State


class Digested(Protocol):
    """A row about to hold a digest."""

    @property
    def id(self) -> int: ...
    @property
    def rule(self) -> str: ...
    @property
    def digest(self) -> bytes: ...


def conflicts_of(connection: Connection, rows: Sequence[Any]) -> dict[int, tuple[State, str]]:
    """
    Find which of these rows (id, rule, digest) cannot hold their digest.

    Returns:
        For each such row the state and the reason it ends with: ``skipped`` when the same rule already sent the same
        payload for a block that then left the chain, else ``failed``.

    """
    if not rows:
        return {}
    holder = tasks.c.digest.in_({row.digest for row in rows}) & (tasks.c.state != State.CANCELLED)
    held: dict[bytes, Any] = {
        row.digest: row
        for row in connection.execute(select(tasks.c.id, tasks.c.rule, tasks.c.digest, tasks.c.orphaned).where(holder))
    }
    conflicts: dict[int, tuple[State, str]] = {}
    for row in rows:
        other = held.setdefault(row.digest, row)
        if other.id != row.id:
            conflicts[row.id] = _verdict(row, other)
    return conflicts


def _verdict(row: Digested, other: Row[Any]) -> tuple[State, str]:
    if other.rule == row.rule and getattr(other, "orphaned", False):
        return State.SKIPPED, f"same payload as task {other.id}"
    return State.FAILED, (
        f"same payload as task {other.id} of rule {other.rule}: a contract settles it once only; "
        "add what tells this trigger apart to the proof, such as its block number, transaction hash and log index"
    )
