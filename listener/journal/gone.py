"""
Ends the pending tasks of rules that are gone: no longer in the configuration, or on another chain now.

Nobody would execute them, and they must not wait silently. What has its payload is sent all the same: it was signed. In
the caller's transaction.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select, update

from listener.journal.schema import in_state, rules, tasks
from listener.model import State

Homes = Mapping[str, str | None]  # for each rule of the configuration the chain of its tasks; None: any


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """A rule with tasks that nobody would execute, why, and how many of them expired."""

    rule: str
    chain: str
    reason: str
    expired: int


def reason(homes: Homes, rule: str, chain: str) -> str | None:
    """Say why nobody executes a rule's tasks of a chain; None where somebody does."""
    if rule not in homes:
        return f'the rule "{rule}" is no longer in the configuration'
    at = homes[rule]
    return None if at is None or at == chain else f'the rule "{rule}" is on chain {at} now, not on {chain}'


def end(connection: Connection, homes: Homes, now: int) -> list[Gone]:
    """
    End what is pending of rules that are gone, and forget since when they applied: back again, they are new.

    What runs is another process's, which has it in its configuration still.
    """
    applied = connection.execute(select(rules.c.name, rules.c.chain)).all()
    for row in applied:
        if reason(homes, row.name, row.chain) is not None:
            connection.execute(delete(rules).where(rules.c.name == row.name))
    pending = in_state(State.PENDING)
    counted = select(tasks.c.rule, tasks.c.chain, func.count().label("expired")).where(pending)
    found = []
    for row in connection.execute(counted.group_by(tasks.c.rule, tasks.c.chain)).all():
        why = reason(homes, row.rule, row.chain)
        if why is None:
            continue
        values = {"state": State.EXPIRED, "claim": tasks.c.claim + 1, "error": why, "settled_at": now}
        of_rule = (pending, tasks.c.rule == row.rule, tasks.c.chain == row.chain)
        connection.execute(update(tasks).where(*of_rule).values(values))
        found.append(Gone(rule=row.rule, chain=row.chain, reason=why, expired=row.expired))
    return found
