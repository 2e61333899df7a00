"""
Writes what the audit sweep finds: tasks that the walk missed, and how far the sweep came, in the caller's transaction.

The sweep never takes anything away. What stands in the journal and is missing in a later answer stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from listener.errors import Overtaken
from listener.journal import incidents
from listener.journal.incidents import Kind
from listener.journal.schema import blocks, chains, of_a_block, tasks
from listener.journal.walk import Walk
from listener.model import Occasion


@dataclass(frozen=True, slots=True)
class AuditRow:
    """How far a chain's sweep came, and whether one of its blooms lied."""

    audited: int
    bloom_denied: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A range that was read again, with the occasions in it that have no task yet."""

    chain: str
    after: int  # the sweep's cursor before …
    through: int  # … and after it
    occasions: Sequence[Occasion] = ()
    bloom_denied: bool = False


def find(connection: Connection, *, chain: str) -> AuditRow:
    """Return where a chain's sweep stands."""
    row = connection.execute(select(chains.c.audited, chains.c.bloom_denied).where(chains.c.name == chain)).one()
    return AuditRow(row.audited, bool(row.bloom_denied))


def write(connection: Connection, *, walk: Walk, sweep: Sweep, chain_id: int, now: int) -> tuple[int, int] | None:
    """
    Append what was found and move the sweep's cursor; return how many tasks are new, and how many of them are paired.

    Returns:
        None, and nothing is written, where a block that was found is not the one that we walked.

    Raises:
        Overtaken: the sweep's cursor is not where the range begins; nothing is written.
    """
    if any(_differs(connection, sweep.chain, occasion) for occasion in sweep.occasions):
        return None
    moved = update(chains).where(chains.c.name == sweep.chain, chains.c.audited == sweep.after)
    values = {"audited": sweep.through} | ({"bloom_denied": True} if sweep.bloom_denied else {})
    if connection.execute(moved.values(values)).rowcount != 1:
        raise Overtaken(f"chain {sweep.chain}: the audit is not at block {sweep.after}; another process moved it")
    # max_age counts from now: it is not the task's fault that it was seen late.
    late = now // 1_000_000
    appended = walk.appender.append(connection, sweep.chain, sweep.occasions, chain_id, now, again=True, ages_from=late)
    if appended.count:
        numbers = [occasion.block.number for occasion in sweep.occasions]
        incidents.record(
            connection,
            kind=Kind.AUDIT,
            chain=sweep.chain,
            now=now,
            from_block=min(numbers),
            to_block=max(numbers),
            detail=f"{appended.count} tasks of logs that the first read lacked",
        )
    return appended.count, appended.paired


def _differs(connection: Connection, chain: str, occasion: Occasion) -> bool:
    number, found = occasion.block.number, occasion.block.hash
    walked = select(blocks.c.hash).where(blocks.c.chain == chain, blocks.c.number == number)
    at_it = (tasks.c.chain == chain, tasks.c.block_number == number, tasks.c.canonical, of_a_block)
    fired = select(tasks.c.block_hash).where(*at_it)
    ours = {*connection.execute(walked).scalars(), *connection.execute(fired).scalars()}
    return bool(ours) and ours != {found}
