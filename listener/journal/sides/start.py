"""The app's side: takes up what earlier processes left, and keeps our claims from those who look for such."""

import asyncio
from collections.abc import Mapping

import structlog
from sqlalchemy import Connection

from listener import metrics
from listener.journal import endings, execution, gone, held, lease, measure
from listener.journal.clock import now_us
from listener.journal.endings import Ending
from listener.journal.gone import Gone
from listener.journal.sides.ground import Ground
from listener.model import State

log = structlog.get_logger()


class StartSide(Ground):
    """What the app does at start, and what goes on beside the stages."""

    async def resume(self, resume_at: str | None) -> int:
        """
        Go on with a journal that was restored, as the operator chose; return how many open tasks have expired.

        Raises:
            NotPossible: it is held, and nothing was chosen.
            ConfigError: something was chosen, and it is not held.

        """

        def work(connection: Connection) -> tuple[int, list[Ending]]:
            now = now_us()
            count = held.release(connection, resume_at, now)
            return count, endings.find(connection, now, State.EXPIRED) if count else []

        count, expired = await self._writer.run(work, durable=resume_at is not None)
        endings.tell(expired)
        return count

    async def recover(self, max_attempts: Mapping[str, int]) -> tuple[int, int]:
        """Take back what an earlier process left; return how many tasks were running and how many ready."""
        self._max_attempts = max_attempts
        self._outbox.unseen = frozenset(
            home for home in self._walk.homes.values() if home is not None and home not in self.looked
        )

        def work(connection: Connection) -> tuple[int, list[Ending], int]:
            running, dead = self._recover(connection)
            return running, dead, self._outbox.find(connection)

        running, dead, ready = await self._writer.run(work)
        endings.tell(dead)
        if self._lease.is_shared:
            self._renew_later()
        return running, ready

    def _recover(self, connection: Connection) -> tuple[int, list[Ending]]:
        """Take back what processes left that are gone; return how many tasks, and which of them ended so."""
        now = now_us()
        running = execution.recover(connection, self._max_attempts, now, self._lease)
        return running, endings.find(connection, now, State.FAILED) if running else []

    async def end_gone(self) -> list[Gone]:
        """End the pending tasks that no rule of the configuration would execute; after what ran was taken back."""

        def work(connection: Connection) -> tuple[list[Gone], list[Ending]]:
            now = now_us()
            found = gone.end(connection, self._walk.homes, now)
            return found, endings.find(connection, now, State.EXPIRED) if found else []

        found, ended = await self._writer.run(work, durable=True)
        endings.tell(ended)
        return found

    def _renew_later(self) -> None:
        # Not in the writer's thread: a loop that hangs must lose its claims.
        self._renewal = asyncio.get_running_loop().call_later(lease.RENEW_S, self._renew)

    def _renew(self) -> None:
        def work(connection: Connection) -> tuple[int, list[Ending]]:
            execution.renew(connection, self._lease)
            return self._recover(connection)

        self._writer.submit(work).add_done_callback(self._on_renewed)

    def _on_renewed(self, done: asyncio.Future[tuple[int, list[Ending]]]) -> None:
        if done.cancelled():
            return
        if done.exception() is not None:
            log.warning("claims.not_renewed", reason=str(done.exception()))
        elif done.result()[0]:
            running, dead = done.result()
            log.warning("claims.taken_over", tasks=running, reason="their process did not renew them in time")
            metrics.taken_over.inc(running)
            endings.tell(dead)
            self.on_pending(None)
        self._renew_later()

    async def measure(self) -> None:
        """
        Set the gauges of what waits; not in the writer's way.

        Raises:
            JournalError: it could not be read.

        """
        measure.show(await asyncio.to_thread(measure.count, self._engine, now_us()), self._walk.rules)
