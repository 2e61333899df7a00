"""
Appends the tasks of new triggers, each in the state that it is due, in the caller's transaction.

Most are ``pending``. Not executed, but a row all the same, is what was sent already for the same cause (``skipped``),
what may have been done before, and what is found too late for its rule (``expired``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Executable, bindparam, insert, select

from listener.journal.held import Past
from listener.journal.late import CatchUp, Late, newest_of_each
from listener.journal.pairs import Cause, Place, first_indexes, packed, pairs_of
from listener.journal.schema import chunks, tasks
from listener.journal.statement import Statement
from listener.model import Occasion, State

_APPENDED = (
    "key",
    "rule",
    "state",
    "trigger",
    "chain",
    "block_number",
    "block_hash",
    "block_timestamp",
    "epoch",
    "transaction_hash",
    "log_index",
    "log",
    "task_definition_id",
    "ages_from",
    "created_at",
    "paired_id",
    "error",
    "settled_at",
)


def _appending(*more: str) -> Statement:
    """Make the insertion of tasks. A key that is there already leaves its row as it is: that is not news."""
    row: dict[str, Any] = {name: bindparam(name) for name in (*_APPENDED, *more)}

    def on_postgresql() -> Executable:
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - 2 MB that a journal in a file does not need

        return postgresql.insert(tasks).values(row).on_conflict_do_nothing(index_elements=["key"]).inline()

    return Statement(insert(tasks).prefix_with("OR IGNORE", dialect="sqlite").values(row), postgresql=on_postgresql)


_APPEND = _appending()
_APPEND_LATE = _appending("late", "not_before")  # steady running need not say of each task that it is not late


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFacts:
    """
    What the journal needs to know of a rule.

    Args:
        task_definition_id: the id that its tasks carry.
        once: whether a cause counts once.
        catch_up: what becomes of late triggers; None where they are as good as any.
        chain: the chain whose tasks are its own; None for those of any.
    """

    task_definition_id: int
    once: bool
    catch_up: CatchUp | None = None
    chain: str | None = None


@dataclass(frozen=True, slots=True)
class Appended:
    """How many rows are new, how many of them are paired and expired, and each rule's newest block that was late."""

    count: int = 0
    paired: int = 0
    expired: int = 0
    newest_late: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Appender:
    """Appends tasks. Lives in the writer's thread."""

    rules: Mapping[str, RuleFacts]
    late: Late
    past: dict[str, Past] = field(default_factory=dict)  # chains with blocks whose new triggers are not executed

    def append(  # noqa: PLR0913 - the walk's and the sweep's
        self,
        connection: Connection,
        chain: str,
        occasions: Sequence[Occasion],
        chain_id: int,
        now: int,
        *,
        again: bool,
        newest: int = 0,
        ages_from: int | None = None,
    ) -> Appended:
        """
        Append the tasks that are not there yet, in chain order.

        With ``again``, a cause may have been sent already, from a block that left the chain. ``newest`` is the
        timestamp of the chain's newest head: what is late is reckoned from it, and nothing is with 0. ``ages_from`` is
        what max_age counts from, in Unix seconds; None stands for each block's own time.
        """
        if not occasions:
            return Appended()
        fresh = {occasion.key(chain_id): occasion for occasion in occasions}  # a dict: a log may come twice
        orphans: dict[Any, int] = {}
        in_past = self.excuse(chain, occasions[0].block.number) is not None  # the lowest block
        if again or in_past:
            known = known_keys(connection, list(fresh))
            first = first_indexes(Place.of(occasion) for occasion in fresh.values())
            fresh = {key: occasion for key, occasion in fresh.items() if key not in known}
        if again:
            causes = [Cause.of(key, each, first) for key, each in fresh.items()]
            orphans = self.pairs(connection, chain, causes)
        if not fresh:
            return Appended()
        special: dict[str, dict[str, Any]] = {}
        if in_past:
            excuses = {key: self.excuse(chain, each.block.number) for key, each in fresh.items()}
            special = {key: _expired(excuse, now) for key, excuse in excuses.items() if excuse is not None}
        late = self.late.among({key: each for key, each in fresh.items() if key not in special}, newest)
        special |= self.late.columns(late, now)
        for key, orphan_id in orphans.items():
            special[key] = {"late": key in late} if late else {}
            special[key] |= paired(orphan_id, now)
        made = (self._row(key, each, chain, now, ages_from) | special.get(key, {}) for key, each in fresh.items())
        if late:
            count = _APPEND_LATE.run(connection, ({"late": False, "not_before": 0} | row for row in made))
        else:
            count = _APPEND.run(connection, made)
        expired = sum(values.get("state") == State.EXPIRED for values in special.values())
        return Appended(count, len(orphans), expired, newest_of_each(late.values()))

    def excuse(self, chain: str, number: int) -> str | None:
        """Return why a trigger that is new to the journal is not executed; None when it is."""
        past = self.past.get(chain)
        return None if past is None else past.excuse(number)

    def pairs(self, connection: Connection, chain: str, causes: Sequence[Cause]) -> dict[Any, int]:
        """Find, for triggers of ``once`` rules, the orphans that were sent for the same cause: id → the orphan's id."""
        wanted = [cause for cause in causes if cause.rule in self.rules and self.rules[cause.rule].once]
        return pairs_of(connection, chain, wanted) if wanted else {}

    def _row(self, key: str, occasion: Occasion, chain: str, now: int, ages_from: int | None) -> dict[str, Any]:
        """Return an ordinary task's row."""
        log = occasion.log
        return {
            "key": key,
            "rule": occasion.rule,
            "state": State.PENDING,
            "trigger": occasion.trigger,
            "chain": chain,
            "block_number": occasion.block.number,
            "block_hash": occasion.block.hash,
            "block_timestamp": occasion.block.timestamp,
            "epoch": occasion.epoch,
            "transaction_hash": None if log is None else log.transaction_hash,
            "log_index": None if log is None else log.index,
            "log": None if log is None else packed(log),
            "task_definition_id": self.rules[occasion.rule].task_definition_id,
            "ages_from": occasion.block.timestamp if ages_from is None else ages_from,
            "created_at": now,
            "paired_id": None,
            "error": None,
            "settled_at": None,
        }


def paired(orphan_id: int, now: int) -> dict[str, Any]:
    """Return what is written of a task whose cause was sent already."""
    error = f"already sent as task {orphan_id}"
    return {"state": State.SKIPPED, "paired_id": orphan_id, "error": error, "settled_at": now}


def known_keys(connection: Connection, keys: Sequence[str]) -> set[str]:
    """Return those of the keys that have a task, whatever became of it."""
    known: set[str] = set()
    for part in chunks(keys):
        known.update(connection.execute(select(tasks.c.key).where(tasks.c.key.in_(part))).scalars())
    return known


def _expired(reason: str, now: int) -> dict[str, Any]:
    return {"state": State.EXPIRED, "error": reason, "settled_at": now}
