"""
Decides what becomes of triggers that are found late, after an outage: ``catch_up`` in a rule, in the caller's
transaction.

Late is a trigger whose block is older than the chain's newest head by more than the rule bears, at the moment when it
is journaled. Under ``none`` it is written as ``expired``. Under ``latest`` the newest one runs, and which that is, is
known when the walk has caught up: until then it is ``pending`` and held back, and the next late one takes its place.
All of it is in the transaction of the step, so that a crash between two steps leaves exactly one that waits.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, literal_column, select, update

from listener.journal.schema import HELD_BACK, in_state, tasks
from listener.journal.work import Step
from listener.model import Occasion, State

NOT_WANTED = 'found too late: the rule says catch_up = "none"'
REPLACED = 'found too late, and so was a newer one: the rule says catch_up = "latest"'

# As the index says it, and of no type: SQLAlchemy would compare a boolean with 1, and SQLite not see that it fits.
_late: ColumnElement[bool] = literal_column("tasks.late")
_held = (in_state(State.PENDING), tasks.c.not_before == literal_column(str(HELD_BACK)))
_RELEASED: dict[str, Any] = {"not_before": 0}
_OLDER: dict[str, Any] = {"state": State.EXPIRED, "error": REPLACED, "not_before": 0, "claim": tasks.c.claim + 1}
_HELD_AGAIN: dict[str, Any] = {"state": State.PENDING, "error": None, "not_before": HELD_BACK, "settled_at": None}


@dataclass(frozen=True, slots=True)
class CatchUp:
    """What a rule wants of late triggers; a rule that wants all of them has none of this."""

    latest: bool  # the newest of them; else none
    after_s: int  # how much older than the newest head a block must be

    def is_late(self, block_timestamp: int, newest: int) -> bool:
        """Tell whether a trigger of a block is late while ``newest`` is the timestamp of the newest head."""
        return block_timestamp < newest - self.after_s


@dataclass(frozen=True, slots=True)
class Settled:
    """How many late tasks were let go, and the ids of those that gave way to a newer one."""

    released: int = 0
    expired: Sequence[int] = ()


class Late:
    """
    The late tasks of all chains. Lives in the writer's thread.

    Args:
        rules: those that do not want all of them.
        shared: other processes write as well, so that nothing is known of what is held back.
    """

    def __init__(self, rules: Mapping[str, CatchUp], *, shared: bool = False) -> None:
        self._rules = rules
        self._asks = shared and bool(rules)
        self._free: set[str] = set()  # chains that are known to hold none back

    def save(self) -> Callable[[], None]:
        """Remember how it is now, and return what brings that back."""
        free = self._free.copy()

        def restore() -> None:
            self._free = free.copy()

        return restore

    def may_hold(self, chain: str) -> bool:
        """Tell whether a chain may hold late tasks back; not only the writer may ask."""
        return chain not in self._free

    def among(self, fresh: Mapping[str, Occasion], newest: int) -> dict[str, Occasion]:
        """Return those of new triggers, by key, that are late."""
        if not self._rules:
            return {}
        return {
            key: each
            for key, each in fresh.items()
            if each.rule in self._rules and self._rules[each.rule].is_late(each.block.timestamp, newest)
        }

    def columns(self, late: Mapping[str, Occasion], now: int) -> dict[str, dict[str, Any]]:
        """Return, by key, what is written of each late trigger in the place of an ordinary row's values."""
        newest = newest_of_each(late.values())
        values: dict[str, dict[str, Any]] = {}
        for key, each in late.items():
            if not self._rules[each.rule].latest:
                values[key] = {"late": True, **_expired(NOT_WANTED, now)}
            elif each.block.number < newest[each.rule]:
                values[key] = {"late": True, **_expired(REPLACED, now)}
            else:
                values[key] = {"late": True, "not_before": HELD_BACK}
        return values

    def settle(
        self, connection: Connection, step: Step, newest_late: Mapping[str, int], now: int, *, changed: bool
    ) -> Settled:
        """
        Let only the newest late task of each rule wait, and none once the walk has caught up.

        Args:
            connection: the writer's.
            step: the step that was just written.
            newest_late: by rule, the newest block of the late triggers that it brought.
            now: microseconds since the epoch.
            changed: blocks left the chain or came back, and with them perhaps what was held back.
        """
        if newest_late or (changed and self._rules):
            self._free.discard(step.chain)
        if step.chain in self._free:
            return Settled()
        if step.ancestor is not None:
            self._restore(connection, step.chain)
        waiting: dict[str, Any] = {}
        older: list[int] = []
        held = select(tasks.c.id, tasks.c.rule, tasks.c.block_number).where(*_held, tasks.c.chain == step.chain)
        # Sorted here: told to, SQLite would walk through all tasks of the chain, which have an index in this order.
        rows = sorted(connection.execute(held), key=lambda row: (row.block_number, row.id), reverse=True)
        for row in rows:
            if row.rule in waiting or row.block_number < newest_late.get(row.rule, 0):
                older.append(row.id)
            else:
                waiting[row.rule] = row.id
        _change(connection, older, **_OLDER, settled_at=now)
        done = [row_id for rule, row_id in waiting.items() if self._has_caught_up(rule, step)]
        _change(connection, done, **_RELEASED)
        if len(done) == len(waiting):
            self._know_free(step.chain)
        return Settled(len(done), older)

    def release(self, connection: Connection, chain: str) -> int:
        """Let go what is held back on a chain whose cursor is its head; return how many tasks that were."""
        held = connection.execute(select(tasks.c.id).where(*_held, tasks.c.chain == chain)).scalars().all()
        _change(connection, held, **_RELEASED)
        self._know_free(chain)
        return len(held)

    def _know_free(self, chain: str) -> None:
        if not self._asks:
            self._free.add(chain)

    def _has_caught_up(self, rule: str, step: Step) -> bool:
        """Tell whether no later block can be late: the cursor's own is not."""
        wanted = self._rules.get(rule)
        at = step.blocks[-1].timestamp if step.blocks else step.newest
        return wanted is None or not wanted.is_late(at, step.newest)

    def _restore(self, connection: Connection, chain: str) -> None:
        """Where a reorg took the newest late trigger away, hold the one before it back again."""
        for rule, wanted in self._rules.items():
            if not wanted.latest:
                continue
            row = connection.execute(
                select(tasks.c.id, tasks.c.state, tasks.c.error)
                .where(_late, tasks.c.chain == chain, tasks.c.rule == rule, tasks.c.canonical)
                .order_by(tasks.c.block_number.desc(), tasks.c.id.desc())
                .limit(1)
            ).first()
            if row is not None and row.state == State.EXPIRED and row.error == REPLACED:
                _change(connection, [row.id], **_HELD_AGAIN)


def newest_of_each(late: Iterable[Occasion]) -> dict[str, int]:
    """Return the number of each rule's newest block among these triggers."""
    newest: dict[str, int] = {}
    for each in late:
        newest[each.rule] = max(newest.get(each.rule, 0), each.block.number)
    return newest


def _expired(reason: str, now: int) -> dict[str, Any]:
    return {"state": State.EXPIRED, "error": reason, "settled_at": now}


def _change(connection: Connection, ids: Iterable[int], **values: Any) -> None:
    for row_id in ids:  # one for each rule, seldom more
        connection.execute(update(tasks).where(tasks.c.id == row_id).values(**values))
