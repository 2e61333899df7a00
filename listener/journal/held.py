"""
What holds a journal that was restored from a backup, and which blocks' triggers are journaled but not executed.

A backup does not know what was signed and sent after it was taken. So it is *held* until an operator says how to go on:
from its cursor, at the risk that tasks are sent again, or from the newest block, with a gap. The gap is walked like any
other part of the chain, but what fires in it is ``expired``. The same goes for blocks of which rows were removed: a
trigger found there anew may have been one of theirs.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from listener.errors import ConfigError, NotPossible
from listener.journal import plans
from listener.journal.schema import chains, facts, tasks
from listener.model import State

HELD = "held"  # its value says since when, and from what
LATEST, CURSOR = "latest", "cursor"
IN_GAP = "between a backup and the restart after it: it may have been done meanwhile"
IN_BACKUP = "open in the backup that was restored: it may have been done since"
IN_REMOVED = "rows of blocks up to here were removed as too old: it may have been done before"
_TO_HEAD = "head"  # a gap whose end is still to be asked of its chain


@dataclass(frozen=True, slots=True)
class Past:
    """
    Up to which block of a chain no new trigger is executed; -1 where there is no such block.

    ``gap`` is the end of the gap after a backup, None where the chain is still to be asked for it; ``removed`` the
    highest block of which a row was removed.
    """

    gap: int | None = -1
    removed: int = -1

    def excuse(self, number: int) -> str | None:
        """Return why a trigger of this block that is new to the journal is not executed; None when it is."""
        if self.gap is not None and number <= self.gap:
            return IN_GAP
        return IN_REMOVED if number <= self.removed else None


def hold(connection: Connection, since: str) -> None:
    """Hold the journal; ``since`` says what it was restored from, and when."""
    _put(connection, HELD, since)


def reason(connection: Connection) -> str | None:
    """Return what the journal is held for; None when it is not."""
    return _get(connection, HELD)


def release(connection: Connection, resume_at: str | None, now: int) -> int:
    """
    Go on as the operator chose: the choice is kept, and the journal no longer held.

    Returns:
        How many tasks that were open in the backup have expired.

    Raises:
        NotPossible: the journal is held, and nothing was chosen.
        ConfigError: something was chosen for a journal that is not held.

    """
    since = reason(connection)
    if since is None:
        if resume_at is not None:
            raise ConfigError("--resume-at: the journal is not held, so it goes on from its cursor; leave this out")
        return 0
    if resume_at is None:
        raise NotPossible(
            f"the journal is held, {since}; choose how to go on: `listener run --resume-at latest` executes and sends "
            "nothing of the time since, `--resume-at cursor` all of it, perhaps a second time"
        )
    _drop(connection, HELD)
    if resume_at == CURSOR:
        return 0
    for chain in connection.execute(select(chains.c.name)).scalars().all():
        _put(connection, f"gap {chain}", _TO_HEAD)
    plans.leave_gap(connection, now // 1_000_000)
    open_states = (State.PENDING, State.RUNNING, State.READY)
    values = {"state": State.EXPIRED, "claim": tasks.c.claim + 1, "error": IN_BACKUP, "settled_at": now}
    return connection.execute(update(tasks).where(tasks.c.state.in_(open_states)).values(values)).rowcount


def past(connection: Connection, chain: str) -> Past:
    """Return up to which block no new trigger of a chain is executed."""
    gap, removed = _get(connection, f"gap {chain}"), _get(connection, f"removed {chain}")
    return Past(gap=None if gap == _TO_HEAD else int(gap or -1), removed=int(removed or -1))


def end_gap(connection: Connection, chain: str, number: int) -> None:
    """Say where a gap ends, now that the chain was asked."""
    _put(connection, f"gap {chain}", str(number))


def remember_removed(connection: Connection, chain: str, number: int) -> None:
    """Say that rows of blocks up to this one are gone."""
    _put(connection, f"removed {chain}", str(number))


def forget(connection: Connection, chain: str) -> None:
    """Drop what is known of a chain's past: another chain has taken its name."""
    for kind in ("gap", "removed"):
        _drop(connection, f"{kind} {chain}")


def _get(connection: Connection, name: str) -> str | None:
    found: str | None = connection.execute(select(facts.c.value).where(facts.c.name == name)).scalar()
    return found


def _put(connection: Connection, name: str, value: str) -> None:
    _drop(connection, name)
    connection.execute(insert(facts).values(name=name, value=value))


def _drop(connection: Connection, name: str) -> None:
    connection.execute(delete(facts).where(facts.c.name == name))
