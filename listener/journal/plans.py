"""Up to which time each schedule is planned, in the caller's transaction: what a restart goes on from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from listener.journal.schema import facts

_PREFIX = "schedule "
IN_GAP = "planned between a backup and the restart after it: it may have been done meanwhile"


@dataclass(frozen=True, slots=True)
class Plan:
    """
    Where a schedule stands, in Unix seconds.

    ``fingerprint`` names the schedule, ``planned`` is its last planned time that is written, and up to ``gap`` nothing
    new is executed: the journal was restored, and it may have been done.
    """

    fingerprint: str
    planned: int
    gap: int = -1

    def excuse(self, moment: int) -> str | None:
        """Return why a planned time that is new to the journal is not executed; None when it is."""
        return IN_GAP if moment <= self.gap else None


def adopt(connection: Connection, *, fingerprints: Mapping[str, str], now: int) -> dict[str, Plan]:
    """
    Return where each rule's schedule stands; one that is new or was changed begins now, and one that is gone is
    forgotten: should it come back, it is a new one.
    """
    known = _all(connection)
    plans = {
        rule: known[rule] if rule in known and known[rule].fingerprint == fingerprint else Plan(fingerprint, now)
        for rule, fingerprint in fingerprints.items()
    }
    for rule in known:
        if rule not in fingerprints:
            connection.execute(delete(facts).where(facts.c.name == _PREFIX + rule))
    for rule, plan in plans.items():
        if known.get(rule) != plan:
            put(connection, rule, plan)
    return plans


def put(connection: Connection, rule: str, plan: Plan) -> None:
    """Write where a schedule stands."""
    name, value = _PREFIX + rule, json.dumps([plan.fingerprint, plan.planned, plan.gap])
    changed = connection.execute(update(facts).where(facts.c.name == name).values(value=value))
    if changed.rowcount == 0:
        connection.execute(insert(facts).values(name=name, value=value))


def leave_gap(connection: Connection, until: int) -> None:
    """Execute nothing that was planned up to now and is not written: this is a backup, and time has passed."""
    for rule, plan in _all(connection).items():
        put(connection, rule, Plan(plan.fingerprint, plan.planned, until))


def _all(connection: Connection) -> dict[str, Plan]:
    rows = connection.execute(select(facts).where(facts.c.name.startswith(_PREFIX, autoescape=True)))
    return {row.name.removeprefix(_PREFIX): Plan(*json.loads(row.value)) for row in rows}
