"""
Removes ended rows that are old, a batch at a time, in the caller's transaction.

Rows are looked at in the order of their ids, which is that of their age: an index on their ends would be paid for by
every task. What could still matter stays, however old:

- open and failed tasks, and incidents that last;
- tasks of blocks that are not final yet, or whose logs the audit sweep has not read again;
- what a reorg orphaned, and its pairs: a transaction may be mined again years later;
- the newest row, for SQLite would give its id a second time.

Of each chain it is remembered up to which block rows are gone. Should it be walked again from before, a trigger found
there is journaled as expired: it may be one that was done.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, select

from listener.journal import held
from listener.journal.asked import ASKED
from listener.journal.schema import chains, incidents, replaced, tasks
from listener.model import State

BATCH = 50  # rows looked at in one transaction: some 3 ms on a journal of half a million
# Accepted is an end where no attestation chain says more.
ENDS = frozenset(
    {
        *(State.ACCEPTED, State.APPROVED, State.REJECTED, State.UNKNOWN),
        *(State.SKIPPED, State.EXPIRED, State.CANCELLED, State.DISCARDED),
    }
)
_pair = tasks.alias("pair")
_COLUMNS = (
    *(tasks.c.id, tasks.c.state, tasks.c.trigger, tasks.c.chain, tasks.c.block_number, tasks.c.orphaned),
    *(tasks.c.paired_id, tasks.c.created_at, func.coalesce(tasks.c.settled_at, tasks.c.accepted_at).label("ended_at")),
    select(_pair.c.id).where(_pair.c.paired_id == tasks.c.id).exists().label("is_paired"),
)


@dataclass(frozen=True, slots=True)
class Removed:
    """What one batch removed: how many rows, of which chains, and after which id to go on; None where it is the end."""

    count: int
    chains: frozenset[str]
    last: int | None


def remove_tasks(connection: Connection, after: int, oldest: int) -> Removed:
    """
    Remove what may go of the next tasks.

    Args:
        connection: inside a transaction.
        after: the id after which to look.
        oldest: what ended before this goes, in microseconds since the epoch.
    """
    rows = connection.execute(select(*_COLUMNS).where(tasks.c.id > after).order_by(tasks.c.id).limit(BATCH)).all()
    newest = connection.execute(select(func.max(tasks.c.id))).scalar()
    settled = {row.name: row for row in connection.execute(select(chains.c.name, chains.c.final, chains.c.audited))}
    ended = [row for row in rows if row.state in ENDS and row.ended_at is not None and row.ended_at < oldest]
    gone = [row for row in ended if row.id != newest and _is_done_with(row, settled)]
    ids = [row.id for row in gone]
    if ids:
        connection.execute(delete(replaced).where(replaced.c.task_id.in_(ids)))
        connection.execute(delete(tasks).where(tasks.c.id.in_(ids)))
    of_blocks = (row for row in gone if row.trigger not in ASKED)
    highest = {row.chain: row.block_number for row in sorted(of_blocks, key=lambda row: row.block_number)}
    for chain, number in highest.items():
        if number > held.past(connection, chain).removed:
            held.remember_removed(connection, chain, number)
    is_end = len(rows) < BATCH or rows[-1].created_at >= oldest  # what is younger cannot have ended before
    return Removed(len(ids), frozenset(highest), None if is_end else rows[-1].id)


def remove_incidents(connection: Connection, oldest: int) -> int:
    """Remove some incidents that ended before ``oldest``; return how many: fewer than a batch where that is all."""
    these = select(incidents.c.id).where(incidents.c.ended_at < oldest).order_by(incidents.c.id).limit(BATCH)
    old = connection.execute(these).scalars().all()
    if old:
        connection.execute(delete(incidents).where(incidents.c.id.in_(old)))
    return len(old)


def _is_done_with(row: Any, settled: dict[str, Any]) -> bool:
    """Tell whether nothing can ask for an ended row again."""
    if row.trigger in ASKED:
        return True
    if row.orphaned or row.is_paired or row.paired_id is not None or row.chain not in settled:
        return False
    chain = settled[row.chain]
    until = min(chain.final, chain.audited) if row.trigger == "event" else chain.final
    return bool(row.block_number <= until)
