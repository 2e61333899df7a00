"""
What the runner was given of each rule, and what it may be given without asking again. Lives in the writer's thread.

A claim that finds less than it has room for stands: the next step that appends tasks of its rule serves it in the same
transaction. So a new task costs one transaction and one wake-up until its handler starts, not two of each.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from sqlalchemy import Connection

from listener.journal import execution
from listener.journal.lease import ALONE, Lease
from listener.journal.work import Claimed, Due


class Claims:
    """The claims that stand. A newer one takes the place of the older one of its rule."""

    def __init__(self, lease: Lease = ALONE) -> None:
        self._lease = lease
        self._given: Counter[str] = Counter()
        self._standing: dict[str, Due] = {}

    def take(self, connection: Connection, due: Due, now: int) -> list[Claimed]:
        """Serve a claim; what is left of it stands, where it may."""
        on_the_way = 0 if due.received is None else self._given[due.rule] - due.received
        slots = due.slots - on_the_way
        claimed = execution.claim(connection, replace(due, slots=slots), now, self._lease) if slots > 0 else []
        self._given[due.rule] += len(claimed)
        self._standing.pop(due.rule, None)
        if len(claimed) < slots and due.stands:
            self._standing[due.rule] = replace(due, slots=slots - len(claimed), received=self._given[due.rule])
        return claimed

    def take_suspect(self, connection: Connection, due: Iterable[Due], now: int) -> Claimed | None:
        """Give out one suspect of these rules."""
        for item in due:
            for task in execution.claim_suspect(connection, item, now, self._lease):
                self._given[task.rule] += 1
                return task
        return None

    def serve(self, connection: Connection, rules: Iterable[str], now: int) -> list[Claimed]:
        """Serve the claims that stand for rules with new tasks."""
        standing = [self._standing[rule] for rule in rules if rule in self._standing]
        return [task for due in standing for task in self.take(connection, due, now)]

    def revoke(self) -> None:
        """Let no claim stand any longer."""
        self._standing.clear()

    def save(self) -> Callable[[], None]:
        """Remember how it is now, and return what brings that back: the transaction may be lost."""
        given, standing = self._given.copy(), self._standing.copy()

        def restore() -> None:
            self._given, self._standing = given.copy(), standing.copy()

        return restore
