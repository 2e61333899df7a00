"""Counts what waits in a journal, for the gauges: they are right after a restart too, for the rows are."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Engine, case, func, select

from listener import metrics
from listener.journal.database import opened
from listener.journal.schema import in_state, tasks
from listener.model import State

_SECOND = 1_000_000  # in the journal's microseconds
# Since when a row waits. An orphan rests, for however long: it is not late.
_ready_since = case((~tasks.c.orphaned, func.coalesce(tasks.c.retried_at, tasks.c.created_at)))


@dataclass(frozen=True, slots=True)
class Waiting:
    """
    What waits.

    Args:
        open: by state, then by rule, how many tasks there are.
        dead: by rule, how many failed and wait for an operator.
        outbox_age_s: of the oldest task that is to be sent; 0 where there is none.
        dead_age_s: since the oldest of those that failed did; 0 where there is none.
    """

    open: dict[str, dict[str, int]]
    dead: dict[str, int]
    outbox_age_s: float
    dead_age_s: float


def count(engine: Engine, now: int) -> Waiting:
    """
    Count on a connection of its own, which only reads: each state has an index that holds just its rows.

    Raises:
        JournalError: the journal could not be read.
    """
    found: dict[str, dict[str, int]] = {}
    ages: dict[str, float] = {}
    with opened(engine) as connection:
        connection.execution_options(reading=True)
        for state in (*metrics.OPEN, State.FAILED.value):
            since: ColumnElement[Any] = tasks.c.settled_at if state == State.FAILED else _ready_since
            query = select(tasks.c.rule, func.count(), func.min(since)).where(in_state(state)).group_by(tasks.c.rule)
            rows = connection.execute(query).all()
            found[state] = {row[0]: row[1] for row in rows}
            ages[state] = max(((now - row[2]) / _SECOND for row in rows if row[2] is not None), default=0.0)
    dead = found.pop(State.FAILED)
    return Waiting(found, dead, max(ages[State.READY], 0.0), max(ages[State.FAILED], 0.0))


def show(waiting: Waiting, rules: Iterable[str]) -> None:
    """Set the gauges; rules that have nothing to count show that."""
    known = set(rules)
    metrics.tasks_open.clear()
    for state, counts in waiting.open.items():
        for rule in known | counts.keys():
            metrics.tasks_open.labels(rule, state).set(counts.get(rule, 0))
    metrics.dead_letters.clear()
    for rule in known | waiting.dead.keys():
        metrics.dead_letters.labels(rule).set(waiting.dead.get(rule, 0))
    metrics.outbox_age_seconds.set(waiting.outbox_age_s)
    metrics.dead_letter_age_seconds.set(waiting.dead_age_s)
