"""The keeper's side: removes what is old."""

from sqlalchemy import Connection

from listener.journal import held, removal
from listener.journal.removal import Removed
from listener.journal.sides.ground import Ground


class KeeperSide(Ground):
    """What the keeper does."""

    async def remove_tasks(self, after: int, oldest: int) -> Removed:
        """Remove what may go of the next tasks after an id: those that ended before ``oldest``."""

        def work(connection: Connection) -> Removed:
            removed = removal.remove_tasks(connection, after, oldest)
            for chain in removed.chains:
                self._walk.appender.past[chain] = held.past(connection, chain)
            return removed

        return await self._writer.run(work)

    async def remove_incidents(self, oldest: int) -> int:
        """Remove some incidents that ended before ``oldest``; return how many."""
        return await self._writer.run(lambda connection: removal.remove_incidents(connection, oldest))
