"""The submitter's side: hands out what is ready, and stores what became of sends."""

from collections.abc import Sequence

from listener.journal.clock import now_us
from listener.journal.sides.ground import Ground
from listener.journal.work import Parcel, Sent


class SubmitterSide(Ground):
    """What the submitter does."""

    async def hand_out(self, slots: int, received: int | None = None, after: int = 0) -> list[Parcel]:
        """
        Hand out ready tasks; from now on they count as sent.

        With ``received``, the number handed out so far as the submitter knows it, room that is left stands.
        Tasks behind ``after``, an id, come before the others.
        """
        return await self._writer.run(
            lambda connection: self._outbox.hand_out(connection, slots, now_us(), received, after),
            durable=self._lease.is_shared,  # there it writes that a send may have begun
        )

    async def take_back(self, sent: Sequence[Sent]) -> None:
        """Store what became of sends."""
        await self._writer.run(lambda connection: self._outbox.take_back(connection, sent))
        self.on_ended(each.id for each in sent)
