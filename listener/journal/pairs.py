"""
Recognises in a replacing block what was already sent for a block that left: under ``once`` a cause counts once.

Reads only, in the caller's transaction; what becomes of a pair is written in ``walk.py``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, select

from listener.journal.schema import tasks
from listener.model import Log, Occasion

CAUSE = (  # the columns that a cause is made of
    tasks.c.id,
    tasks.c.rule,
    tasks.c.block_number,
    tasks.c.block_hash,
    tasks.c.transaction_hash,
    tasks.c.log_index,
    tasks.c.log,
)
FirstIndexes = dict[tuple[str, bytes, bytes | None], int]

_CHUNK = 500  # values in one IN list


@dataclass(frozen=True, slots=True)
class Place:
    """Where a log stands, named as the columns are."""

    rule: str
    block_hash: bytes
    transaction_hash: bytes | None
    log_index: int | None

    @classmethod
    def of(cls, occasion: Occasion) -> "Place":
        """Take it from a trigger that has no row yet."""
        log = occasion.log
        transaction, index = (None, None) if log is None else (log.transaction_hash, log.index)
        return cls(occasion.rule, occasion.block.hash, transaction, index)


def first_indexes(places: Iterable[Any]) -> FirstIndexes:
    """Return for each transaction of a block and each rule the lowest index of a log that the rule found in it."""
    first: FirstIndexes = {}
    for each in places:
        if each.log_index is not None:
            key = (each.rule, each.block_hash, each.transaction_hash)
            first[key] = min(first.get(key, each.log_index), each.log_index)
    return first


@dataclass(frozen=True, slots=True)
class Cause:
    """What made a task, as far as it can be recognised in another block; ``id`` says whose it is."""

    id: Any
    rule: str
    place: Any  # the transaction's hash, or the block's number where no log was the cause
    log: bytes | None  # packed
    index: int | None = None  # the log's, in its block
    rank: int = 0  # how far it stands behind the first log that the rule found in the transaction

    @property
    def same(self) -> tuple[str, Any]:
        """What is equal in another block."""
        return self.rule, self.place

    def fits(self, other: "Cause", *fields: str) -> bool:
        """Compare some of the log's content, its index, and its place in the transaction."""
        return all(getattr(self, field) == getattr(other, field) for field in fields)

    @classmethod
    def of(cls, key: str, occasion: Occasion, first: FirstIndexes) -> "Cause":
        """Take it from a trigger that has no row yet."""
        log = occasion.log
        if log is None:
            return cls(key, occasion.rule, occasion.block.number, None)
        return cls(key, occasion.rule, log.transaction_hash, packed(log), log.index, _rank(Place.of(occasion), first))

    @classmethod
    def of_row(cls, row: Any, first: FirstIndexes) -> "Cause":
        """Take it from a row."""
        if row.transaction_hash is None:
            return cls(row.id, row.rule, row.block_number, row.log)
        return cls(row.id, row.rule, row.transaction_hash, row.log, row.log_index, _rank(row, first))


def pairs_of(connection: Connection, chain: str, wanted: Sequence[Cause]) -> dict[Any, int]:
    """Find the orphans that were sent for these causes and are nobody's pair: a cause's id → the orphan's id."""
    waiting = _waiting(connection, chain, {cause.same for cause in wanted})
    pairs: dict[Any, int] = {}
    # Equal logs first. Of equal ones that with the same index: what its task would sign may be what was sent, and a
    # twin's is not. Then that in the same place of the transaction: its twin may not have been sent. Then the place
    # alone, for arguments such as block.number do change; the rest in log order.
    for fields in (("log", "index"), ("log", "rank"), ("log",), ("rank",), ()):
        for cause in wanted:
            orphans = waiting.get(cause.same, [])
            match = next((each for each in orphans if each.fits(cause, *fields)), None)
            if match is not None and cause.id not in pairs:
                pairs[cause.id] = match.id
                orphans.remove(match)
    return pairs


def _waiting(connection: Connection, chain: str, causes: set[tuple[str, Any]]) -> dict[tuple[str, Any], list[Cause]]:
    pair = tasks.alias("pair")
    taken = select(pair.c.paired_id).where(pair.c.paired_id == tasks.c.id, pair.c.canonical).exists()
    resting = connection.execute(
        select(*CAUSE).where(tasks.c.chain == chain, ~tasks.c.canonical, tasks.c.orphaned, ~taken).order_by(tasks.c.id)
    )
    rows = [row for row in resting if Cause.of_row(row, {}).same in causes]
    first = first_indexes(_siblings(connection, chain, {row.block_hash for row in rows}))
    waiting: dict[tuple[str, Any], list[Cause]] = {}
    for row in rows:
        orphan = Cause.of_row(row, first)
        waiting.setdefault(orphan.same, []).append(orphan)
    return waiting


def _siblings(connection: Connection, chain: str, hashes: Iterable[bytes]) -> Iterable[Any]:
    """Read the places of all logs of these blocks, sent or not."""
    place = select(tasks.c.rule, tasks.c.block_hash, tasks.c.transaction_hash, tasks.c.log_index)
    known = sorted(hashes)
    for start in range(0, len(known), _CHUNK):
        these = tasks.c.block_hash.in_(known[start : start + _CHUNK])
        yield from connection.execute(place.where(tasks.c.chain == chain, ~tasks.c.canonical, these))


def _rank(place: Any, first: FirstIndexes) -> int:
    lowest = first.get((place.rule, place.block_hash, place.transaction_hash))
    return 0 if lowest is None else int(place.log_index) - lowest


def packed(log: Log) -> bytes:
    """Store a log's content so that equal logs are equal bytes."""
    return orjson.dumps([log.address, [topic.hex() for topic in log.topics], log.data.hex()])


def unpacked(stored: bytes, block_number: int, block_hash: bytes, transaction_hash: bytes, index: int) -> Log:
    """Read back what ``packed`` stored, with its place in the chain."""
    address, topics, data = orjson.loads(stored)
    return Log(
        address=address,
        topics=tuple(bytes.fromhex(topic) for topic in topics),
        data=bytes.fromhex(data),
        block_number=block_number,
        block_hash=block_hash,
        transaction_hash=transaction_hash,
        index=index,
    )
