"""
What went wrong and was borne, as rows: gaps, reconnects, reorgs, halts, and what the audit found.

A row stands for one trouble of one chain. What repeats within a minute is the same trouble, and raises ``count``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, and_, insert, or_, select, update

from listener import metrics
from listener.journal.rows import as_time
from listener.journal.schema import chains, incidents
from listener.logs import redacted

REPEAT_US = 60_000_000


class Kind(StrEnum):
    """What an incident is."""

    GAP = "gap"
    RECONNECT = "reconnect"
    REORG = "reorg"
    HALT = "halt"
    AUDIT = "audit"


LASTING = frozenset({Kind.RECONNECT, Kind.HALT})  # they are open until ``end``; the others are over when they are known
FIELDS = ("id", "kind", "chain", "started_at", "ended_at", "from_block", "to_block", "depth", "count", "detail")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """
    Which incidents to list; ``since`` is in microseconds since the epoch.

    They come oldest first, or ``newest_first``; ``after`` is the id of the last one that is known already.
    """

    kinds: Sequence[str] = ()
    chain: str | None = None
    since: int | None = None
    limit: int | None = None
    newest_first: bool = False
    after: int | None = None


def record(  # noqa: PLR0913 - a row's columns
    connection: Connection,
    *,
    kind: Kind,
    chain: str,
    now: int,
    detail: str,
    from_block: int | None = None,
    to_block: int | None = None,
    depth: int | None = None,
) -> None:
    """
    Write an incident, or count it to the row of the same kind and chain that is still open or at most a minute old.

    Such a row then spans the blocks of both, keeps the larger depth, and says the newer detail.
    """
    ended = None if kind in LASTING else now
    detail = redacted(detail)
    metrics.of_chain(chain).incident(kind)
    recent = or_(incidents.c.started_at >= now - REPEAT_US, incidents.c.ended_at >= now - REPEAT_US)
    last = connection.execute(
        select(incidents)
        .where(incidents.c.kind == kind, incidents.c.chain == chain, or_(recent, incidents.c.ended_at.is_(None)))
        .order_by(incidents.c.id.desc())
        .limit(1)
    ).first()
    if last is None:
        connection.execute(
            insert(incidents).values(
                kind=kind,
                chain=chain,
                started_at=now,
                ended_at=ended,
                from_block=from_block,
                to_block=to_block,
                depth=depth,
                detail=detail,
            )
        )
        return
    connection.execute(
        update(incidents)
        .where(incidents.c.id == last.id)
        .values(
            ended_at=ended,
            from_block=min(_known(last.from_block, from_block), default=None),
            to_block=max(_known(last.to_block, to_block), default=None),
            depth=max(_known(last.depth, depth), default=None),
            count=incidents.c.count + 1,
            detail=detail,
        )
    )


def end(connection: Connection, *, kind: Kind, chain: str, now: int) -> None:
    """Write that what lasted is over; nothing where none is open."""
    is_open = and_(incidents.c.kind == kind, incidents.c.chain == chain, incidents.c.ended_at.is_(None))
    connection.execute(update(incidents).where(is_open).values(ended_at=now))


def chains_of(connection: Connection) -> set[str]:
    """Return the chains that the journal knows, also those with nothing but incidents."""
    known = select(chains.c.name).union(select(incidents.c.chain))
    return set(connection.execution_options(reading=True).execute(known).scalars())


def rows(connection: Connection, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """Yield the matching incidents as the outside sees them, in order."""
    ordered = incidents.c.id.desc() if wanted.newest_first else incidents.c.id
    query = select(*(incidents.c[name] for name in FIELDS)).order_by(ordered).limit(wanted.limit)
    if wanted.after is not None:
        query = query.where(incidents.c.id < wanted.after if wanted.newest_first else incidents.c.id > wanted.after)
    if wanted.kinds:
        query = query.where(incidents.c.kind.in_(wanted.kinds))
    if wanted.chain is not None:
        query = query.where(incidents.c.chain == wanted.chain)
    if wanted.since is not None:
        # What lasted into that time is part of it.
        ended = incidents.c.ended_at
        query = query.where(or_(incidents.c.started_at >= wanted.since, ended.is_(None), ended >= wanted.since))
    for row in connection.execution_options(reading=True, yield_per=500).execute(query):
        yield {name: _shown(name, value) for name, value in zip(FIELDS, row, strict=True)}


def _known(*values: int | None) -> list[int]:
    return [value for value in values if value is not None]


def _shown(name: str, value: Any) -> Any:
    return as_time(value) if name in {"started_at", "ended_at"} and value is not None else value
