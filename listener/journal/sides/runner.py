"""The runner's side: takes tasks in hand, and stores what came of them."""

from collections.abc import Sequence

from sqlalchemy import Connection

from listener.journal import execution
from listener.journal.clock import now_us
from listener.journal.sides.ground import Ground
from listener.journal.work import Claimed, Due, Ended, Parcel, Signed
from listener.model import State


class RunnerSide(Ground):
    """What the runner does."""

    async def claim(self, due: Sequence[Due]) -> list[list[Claimed]]:
        """Take tasks in hand, a list for each of ``due``; those that are too old end as expired instead."""

        def work(connection: Connection) -> tuple[list[list[int]], list[list[Claimed]]]:
            now = now_us()
            expired = [execution.expire(connection, item, now) for item in due]
            return expired, [self._claims.take(connection, item, now) for item in due]

        expired, claimed = await self._writer.run(work)
        for item, old in zip(due, expired, strict=True):
            if old:
                self.on_expired(item.rule, old)
        return claimed

    async def claim_suspect(self, due: Sequence[Due]) -> Claimed | None:
        """Take in hand one task that was in hand when an earlier process ended uncleanly."""
        return await self._writer.run(lambda connection: self._claims.take_suspect(connection, due, now_us()))

    async def claim_nothing(self) -> None:
        """Let no claim stand."""
        await self._writer.run(lambda _connection: self._claims.revoke())

    async def sign(self, signed: Sequence[Signed]) -> dict[int, State]:
        """Store payloads durably, once and for all; tasks missing from the answer were lost to their claimant."""

        def work(connection: Connection) -> tuple[dict[int, State], list[Parcel]]:
            now = now_us()
            states = execution.sign(connection, signed, now, self._lease)
            return states, self._outbox.serve(connection, now)

        states, parcels = await self._writer.run(work, durable=True)
        if parcels:
            self.on_handed_out(parcels)
        if len(parcels) < len(signed):
            self.on_ready()
        return states

    async def end(self, ended: Sequence[Ended]) -> set[int]:
        """Store ends without a payload, and returns to pending; return the ids that were still held."""
        held = await self._writer.run(lambda connection: execution.end(connection, ended, now_us(), self._lease))
        self.on_ended(held)
        return held

    async def release(self) -> None:
        """Put back what was taken and not finished because we stop; nothing is claimed any longer."""

        def work(connection: Connection) -> None:
            self._claims.revoke()
            execution.release(connection, self._lease)

        await self._writer.run(work)
