"""What the journal knows of a chain as a whole: its cursor, its recent hashes, since when each rule applies."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, or_, select, update

from listener.journal import incidents
from listener.journal.incidents import Kind
from listener.journal.schema import blocks, chains, of_a_block, rules, tasks
from listener.journal.work import as_text
from listener.model import Cursor, State


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainRow:
    """Where a chain stands."""

    name: str
    chain_id: int
    genesis: bytes
    cursor: Cursor
    final: int
    halted: str | None = None


def find(connection: Connection, *, chain: str) -> ChainRow | None:
    """Return the chain's row, or None before its first run."""
    row = connection.execute(select(chains).where(chains.c.name == chain)).first()
    if row is None:
        return None
    return ChainRow(
        name=row.name,
        chain_id=row.chain_id,
        genesis=row.genesis,
        cursor=Cursor(row.number, row.hash, row.timestamp),
        final=row.final,
        halted=row.halted,
    )


def begin_unless(
    connection: Connection, *, row: ChainRow, fingerprints: Mapping[str, str], start: int | str, now: int
) -> ChainRow:
    """
    Write a chain's first cursor, and since when its first rules apply, unless another process was faster.

    They apply from ``start``, where that is a number, else from the block after the cursor.

    Returns:
        What is written.
    """
    found = find(connection, chain=row.name)
    if found is not None:
        return found
    begin(connection, row=row, now=now)
    since = start if isinstance(start, int) else row.cursor.number + 1
    _write_rules(connection, row.name, fingerprints, dict.fromkeys(fingerprints, since))
    return row


def begin(connection: Connection, *, row: ChainRow, now: int) -> None:
    """Write a chain's first cursor and remember its block."""
    connection.execute(
        insert(chains).values(
            name=row.name,
            chain_id=row.chain_id,
            genesis=row.genesis,
            number=row.cursor.number,
            hash=row.cursor.hash,
            timestamp=row.cursor.timestamp,
            head=row.cursor.number,
            final=row.final,
            audited=row.cursor.number,
            updated_at=now,
        )
    )
    link = {"chain": row.name, "number": row.cursor.number, "hash": row.cursor.hash}
    connection.execute(insert(blocks).values(**link))


def replace(connection: Connection, row: ChainRow, now: int) -> None:
    """Put another row in a chain's place, and forget the blocks that were walked; its blooms stay as they are known."""
    denied = connection.execute(select(chains.c.bloom_denied).where(chains.c.name == row.name)).scalar()
    connection.execute(delete(blocks).where(blocks.c.chain == row.name))
    connection.execute(delete(chains).where(chains.c.name == row.name))
    begin(connection, row=row, now=now)
    connection.execute(update(chains).where(chains.c.name == row.name).values(bloom_denied=bool(denied)))


def adopt_rules(connection: Connection, *, chain: str, fingerprints: Mapping[str, str]) -> dict[str, int]:
    """
    Return for each rule since which block its trigger applies.

    A rule that is new, or whose trigger changed, applies from the block after the cursor.
    """
    known = {row.name: row for row in connection.execute(select(rules).where(rules.c.chain == chain))}
    cursor = connection.execute(select(chains.c.number).where(chains.c.name == chain)).scalar_one()
    applies = {
        name: known[name].since if name in known and known[name].fingerprint == fingerprint else cursor + 1
        for name, fingerprint in fingerprints.items()
    }
    _write_rules(connection, chain, fingerprints, applies)
    return applies


def forget_rules(connection: Connection, chain: str) -> None:
    """Forget since when a chain's rules apply: they are new to the chain that has taken its name."""
    connection.execute(delete(rules).where(rules.c.chain == chain))


def _write_rules(
    connection: Connection, chain: str, fingerprints: Mapping[str, str], applies: Mapping[str, int]
) -> None:
    # A rule that is gone is forgotten: should it come back, it is a new rule.
    connection.execute(delete(rules).where(or_(rules.c.chain == chain, rules.c.name.in_(list(fingerprints)))))
    rows = [
        {"name": name, "chain": chain, "fingerprint": fingerprint, "since": applies[name]}
        for name, fingerprint in fingerprints.items()
    ]
    if rows:
        connection.execute(insert(rules), rows)


def history(connection: Connection, *, chain: str, lowest: int, highest: int) -> dict[int, bytes]:
    """Return the hashes of walked blocks between two numbers, both inclusive, as far as they are remembered."""
    rows = connection.execute(
        select(blocks.c.number, blocks.c.hash).where(blocks.c.chain == chain, blocks.c.number.between(lowest, highest))
    )
    return {row.number: row.hash for row in rows}


def open_blocks(connection: Connection, *, chain: str) -> dict[bytes, int]:
    """Return hash and number of every block that was not final, or whose tasks may still be executed or sent."""
    final = select(chains.c.final).where(chains.c.name == chain).scalar_subquery()
    states = (State.PENDING, State.RUNNING, State.READY)
    rows = connection.execute(
        select(tasks.c.block_hash, tasks.c.block_number)
        .where(tasks.c.chain == chain, tasks.c.canonical, of_a_block)
        .where(or_(tasks.c.state.in_(states), tasks.c.block_number > final))
        .distinct()
    )
    return {row.block_hash: row.block_number for row in rows}


def halt(connection: Connection, *, chain: str, reason: str | None, now: int) -> None:
    """Write why a chain is not followed; None when it is again. The incident begins and ends with it."""
    said = None if reason is None else as_text(reason)
    connection.execute(update(chains).where(chains.c.name == chain).values(halted=said, updated_at=now))
    if said is None:
        incidents.end(connection, kind=Kind.HALT, chain=chain, now=now)
    else:
        cursor = connection.execute(select(chains.c.number).where(chains.c.name == chain)).scalar_one_or_none()
        incidents.record(
            connection, kind=Kind.HALT, chain=chain, now=now, from_block=cursor, to_block=cursor, detail=said
        )
