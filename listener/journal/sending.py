"""
Writes what the submitter does: hands out ready tasks and stores what became of each send, in the caller's transaction.

That a send may have begun is known without a write: the outbox remembers what it handed out, and counts every ready row
that it finds at start as sent. It lives in the writer's thread, so that handing out and a reorg's cancelling cannot
cross. Where several processes share the journal, the others must know: there a row that is handed out says who has it,
and ``sent_at`` is set before the send begins.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, Update, bindparam, case, func, or_, select, update

from listener.journal import lease as shared
from listener.journal.lease import ALONE, Lease
from listener.journal.operator import settle_discarded
from listener.journal.schema import in_state, of_a_block, tasks
from listener.journal.statement import Statement
from listener.journal.work import Parcel, Sent, as_text
from listener.model import Payload, State

_pair = tasks.alias("pair")
# An orphan rests, unless its cause came back in another block and was paired with it.
_wanted = or_(~tasks.c.orphaned, select(_pair.c.id).where(_pair.c.paired_id == tasks.c.id, _pair.c.canonical).exists())
_COLUMNS = (
    tasks.c.id,
    tasks.c.rule,
    tasks.c.chain,
    tasks.c.block_number,
    tasks.c.created_at,
    tasks.c.sent_at,
    tasks.c.sends,
    tasks.c.proof_of_task,
    tasks.c.data,
    tasks.c.task_definition_id,
    tasks.c.performer,
    tasks.c.digest,
    tasks.c.signature,
    tasks.c.retried_at,
    tasks.c.claim,
)


def _ready(*which: ColumnElement[bool]) -> Select[Any]:
    due = tasks.c.not_before <= bindparam("now")
    wanted = select(*_COLUMNS).where(in_state(State.READY), tasks.c.id > bindparam("after"), due, _wanted, *which)
    return wanted.order_by(tasks.c.id).limit(bindparam("most"))


def _outcome(sent_at: ColumnElement[Any], *which: ColumnElement[bool], **claim: Any) -> Update:
    return (
        update(tasks)
        .where(tasks.c.id == bindparam("row"), tasks.c.claim == bindparam("held"), in_state(State.READY), *which)
        .values(
            state=bindparam("to"),
            sends=tasks.c.sends + 1,
            sent_at=sent_at,
            accepted_at=bindparam("accepted"),
            settled_at=bindparam("ended"),
            already_known=bindparam("known"),
            not_before=bindparam("later"),
            error=bindparam("why"),
            **claim,
        )
    )


_HAND_OUT = Statement(_ready(), postgresql=lambda: _ready(shared.lapsed))
_began = bindparam("begun", type_=BigInteger)
_SENT = Statement(
    _outcome(func.coalesce(tasks.c.sent_at, _began)),
    postgresql=lambda: _outcome(  # that a send might begin was written before it did
        case((tasks.c.sends == 0, _began), else_=tasks.c.sent_at), shared.mine, **shared.freed
    ),
)
_begun = {"sent_at": func.coalesce(tasks.c.sent_at, bindparam("now"))}
_BEGIN = Statement(update(tasks).where(tasks.c.id == bindparam("row")).values({**shared.held, **_begun}))  # shared only


class Outbox:
    """
    Which ready rows are in the submitter's hands, and which may have been sent before.

    Room that the submitter has left stands: what is signed next is handed out in the same transaction.
    """

    def __init__(self, touched: set[int], lease: Lease = ALONE) -> None:
        self.touched = touched
        self.unseen: frozenset[str] = frozenset()  # chains whose blocks may have left: nothing of theirs goes out
        self._lease = lease
        self._in_hand: dict[int, int] = {}  # with the claim they had: an operator may take a row away from us
        self._given = 0
        self._room = 0

    def find(self, connection: Connection) -> int:
        """Count every ready row as sent; return how many there are. Called once, at start."""
        self.touched.update(connection.execute(select(tasks.c.id).where(in_state(State.READY))).scalars())
        return len(self.touched)

    def hand_out(
        self, connection: Connection, slots: int, now: int, received: int | None = None, after: int = 0
    ) -> list[Parcel]:
        """
        Hand out the oldest ready tasks that are due, at most ``slots``.

        Args:
            connection: the writer's.
            slots: how many more the submitter can send.
            now: microseconds since the epoch.
            received: how many have reached it so far, so that those on their way count; None lets no room stand.
            after: a task's id; those behind it come first.
        """
        self._room = slots if received is None else slots - (self._given - received)
        parcels = self.serve(connection, now, after) or (self.serve(connection, now) if after else [])
        if received is None:
            self._room = 0
        return parcels

    def serve(self, connection: Connection, now: int, after: int = 0) -> list[Parcel]:
        """Hand out what is ready and behind a task, as far as the submitter has room."""
        if self._room <= 0:
            return []
        # What is in hand is among the oldest: so many more are read, and passed over.
        rows = self._ready(connection, {"now": now, "most": self._room + len(self._in_hand), "after": after})
        rows = [row for row in rows if row[0] not in self._in_hand][: self._room]
        parcels = [_parcel(row, fresh=row[0] not in self.touched) for row in rows]
        if self._lease.is_shared and parcels:
            _BEGIN.run(connection, [{"row": parcel.id, "now": now, **self._lease.bound} for parcel in parcels])
        claims = {row[0]: row[-1] for row in rows}
        self._room -= len(parcels)
        self._given += len(parcels)
        self._in_hand.update(claims)
        self.touched.update(parcel.id for parcel in parcels)
        return parcels

    def _ready(self, connection: Connection, parameters: dict[str, int]) -> Sequence[Sequence[Any]]:
        if not self.unseen:
            return _HAND_OUT.fetch(connection, parameters)
        # Seldom, at a start and in a halt: what no block made, and what is of other chains, does not wait.
        which = [
            or_(tasks.c.chain.not_in(self.unseen), ~of_a_block),
            *([shared.lapsed] if self._lease.is_shared else []),
        ]
        return connection.execute(_ready(*which), parameters).all()

    def take_back(self, connection: Connection, sent: Sequence[Sent]) -> None:
        """
        Store what became of sends.

        A task that an operator discarded while it was on its way stays discarded, unless it was taken all the same. One
        that he had executed anew has another claim, and learns nothing of a send of its old payload.
        """
        rows = [_sent_row(item, self._in_hand[item.id]) | self._lease.bound for item in sent]
        if _SENT.run(connection, rows) != len(rows):
            settle_discarded(connection, sent, self._in_hand)
        for item in sent:
            del self._in_hand[item.id]
            if item.state != State.READY:
                self.touched.discard(item.id)

    def let_go(self, connection: Connection) -> None:
        """Leave what is in our hands to others; nothing of it is being sent any longer."""
        if self._lease.is_shared:
            free = update(tasks).where(in_state(State.READY), shared.mine).values(shared.freed)
            connection.execute(free, self._lease.me)

    def save(self) -> Callable[[], None]:
        """Remember how it is now, and return what brings that back: the transaction may be lost."""
        touched, in_hand, given, room = self.touched.copy(), self._in_hand.copy(), self._given, self._room

        def restore() -> None:
            self.touched.clear()  # the walk looks at it as well
            self.touched.update(touched)
            self._in_hand, self._given, self._room = in_hand.copy(), given, room

        return restore


def _parcel(row: Sequence[Any], *, fresh: bool) -> Parcel:
    task_id, rule, chain, number, created_at, sent_at, sends, proof, data, definition, performer, digest, signature = (
        row[:13]
    )
    retried_at = row[13]
    return Parcel(
        id=task_id,
        rule=rule,
        chain=chain,
        block_number=number,
        created_at=created_at,
        sent_at=sent_at,
        retried_at=retried_at,
        sends=sends,
        fresh=fresh and sent_at is None and retried_at is None,
        payload=Payload(proof, data, definition, performer, digest, signature),
    )


def _sent_row(item: Sent, held: int) -> dict[str, Any]:
    accepted = item.state == State.ACCEPTED
    return {
        "row": item.id,
        "held": held,
        "to": item.state,
        "begun": item.sent_at,
        "accepted": item.ended_at if accepted else None,
        "ended": item.ended_at if item.state == State.FAILED else None,
        "known": item.already_known,
        "later": item.not_before,
        "why": None if item.error is None else as_text(item.error),
    }
