"""
Writes what the submitter does: hands out ready tasks and stores what became of each send, in the caller's transaction.

That a send may have begun is known without a write: this object remembers what it handed out, and counts every ready row
that it finds at start as sent. It lives in the writer's thread, so that handing out and a reorg's cancelling never cross.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, func, or_, select, update

from listener.journal.schema import tasks
from listener.journal.work import Parcel, Sent
from listener.model import Payload, State

_pair = tasks.alias("pair")
# An orphan rests, unless its cause came back in another block and was paired with it.
_wanted = or_(~tasks.c.orphaned, select(_pair.c.id).where(_pair.c.paired_id == tasks.c.id, _pair.c.canonical).exists())
_PARCEL = select(
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
).where(tasks.c.state == State.READY, _wanted)
_SENT = (
    update(tasks)
    .where(tasks.c.id == bindparam("row"), tasks.c.state == State.READY)
    .values(
        state=bindparam("to"),
        sends=tasks.c.sends + 1,
        sent_at=func.coalesce(tasks.c.sent_at, bindparam("begun")),
        accepted_at=bindparam("accepted"),
        settled_at=bindparam("ended"),
        already_known=bindparam("known"),
        not_before=bindparam("later"),
        error=bindparam("why"),
    )
)


class Outbox:
    """Which ready rows are in the submitter's hands, and which may have been sent before."""

    def __init__(self, touched: set[int]) -> None:
        self.touched = touched
        self._in_hand: set[int] = set()

    def find(self, connection: Connection) -> int:
        """Count every ready row as sent; return how many there are. Called once, at start."""
        self.touched.update(connection.execute(select(tasks.c.id).where(tasks.c.state == State.READY)).scalars())
        return len(self.touched)

    def hand_out(self, connection: Connection, slots: int, now: int) -> list[Parcel]:
        """Hand out the oldest ready tasks that are due, at most ``slots``."""
        query = _PARCEL.where(tasks.c.not_before <= now)
        if self._in_hand:
            query = query.where(tasks.c.id.not_in(self._in_hand))
        rows = connection.execute(query.order_by(tasks.c.id).limit(slots)).all()
        parcels = [_parcel(row, fresh=row.id not in self.touched and row.sent_at is None) for row in rows]
        self._in_hand.update(parcel.id for parcel in parcels)
        self.touched.update(parcel.id for parcel in parcels)
        return parcels

    def take_back(self, connection: Connection, sent: Sequence[Sent]) -> None:
        """Store what became of sends."""
        connection.execute(_SENT, [_sent_row(item) for item in sent])
        for item in sent:
            self._in_hand.discard(item.id)
            if item.state != State.READY:
                self.touched.discard(item.id)


def _parcel(row: Any, *, fresh: bool) -> Parcel:
    return Parcel(
        id=row.id,
        rule=row.rule,
        chain=row.chain,
        block_number=row.block_number,
        created_at=row.created_at,
        sent_at=row.sent_at,
        sends=row.sends,
        fresh=fresh,
        payload=Payload(
            proof_of_task=row.proof_of_task,
            data=row.data,
            task_definition_id=row.task_definition_id,
            performer=row.performer,
            digest=row.digest,
            signature=row.signature,
        ),
    )


def _sent_row(item: Sent) -> dict[str, Any]:
    accepted = item.state == State.ACCEPTED
    return {
        "row": item.id,
        "to": item.state,
        "begun": item.sent_at,
        "accepted": item.ended_at if accepted else None,
        "ended": item.ended_at if item.state == State.FAILED else None,
        "known": item.already_known,
        "later": item.not_before,
        "why": item.error,
    }
