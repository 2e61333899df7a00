"""
The stage that follows one chain: it keeps its lines open, begins where the journal stands, and walks whenever there is news.

A chain that cannot be read is waited out; one that left us below its final block halts, which is a state and not an end.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from listener import config
from listener.chains import Chain
from listener.errors import ChainHalted, ChainUnavailable
from listener.follower.finality import Finality
from listener.follower.walker import Walker
from listener.journal import ChainRow, Journal
from listener.model import Cursor
from listener.rules.matcher import Matcher

log = structlog.get_logger()

POLL_S = 1.0  # between two looks at the head while nothing is pushed
AFTER_FAULT_S = 0.5
HALTED_S = 60.0


class Follower:
    """
    Follows one chain for its rules.

    Args:
        eager: a rule waits for the chain's ``safe`` or ``finalized`` tag, so that every new head asks for it.
    """

    def __init__(
        self, chain: Chain, settings: config.Chain, matchers: Sequence[Matcher], journal: Journal, *, eager: bool
    ) -> None:
        self.name = f"follower {chain.name}"
        self._chain = chain
        self._settings = settings
        self._matchers = matchers
        self._journal = journal
        self._eager = eager

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until asked to stop."""
        async with asyncio.TaskGroup() as group:
            lines = [group.create_task(line.run()) for line in self._chain.lines]
            lines.append(group.create_task(self._wake_at(stop)))
            walker = await self._begin(stop)
            if walker is not None:
                await self._follow(walker, stop)
            for line in lines:
                line.cancel()

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._chain.wake.set()

    async def _begin(self, stop: asyncio.Event) -> Walker | None:
        """Find where to walk from; on a chain's first run, write it. None when asked to stop before."""
        while not stop.is_set():
            try:
                row = await self._journal.chain(self._chain.name) or await self._first_run()
                return await self._walker(row)
            except ChainUnavailable as error:
                log.warning("chain.unavailable", chain=self._chain.name, reason=str(error))
                await _wait(stop, AFTER_FAULT_S)
        return None

    async def _first_run(self) -> ChainRow:
        """
        Write the first cursor: the newest block, or the one before ``start``.

        A ``start`` that is still to come begins at the newest block too: the rules apply from ``start`` on.
        """
        genesis, head = await self._chain.header(0), await self._chain.header("latest")
        if genesis is None or head is None:
            raise ChainUnavailable(f"chain {self._chain.name}: it has no blocks yet")
        cursor = head.cursor
        start = self._settings.start
        if start != "latest" and start <= head.number:
            (first,) = await self._chain.headers([start])
            cursor = Cursor(start - 1, first.parent_hash)
        row = ChainRow(
            name=self._chain.name, chain_id=self._chain.chain_id, genesis=genesis.hash, cursor=cursor, final=0
        )
        await self._journal.begin_chain(row)
        log.info("chain.begun", chain=self._chain.name, after_block=cursor.number)
        return row

    async def _walker(self, row: ChainRow) -> Walker:
        fingerprints = {matcher.name: matcher.fingerprint for matcher in self._matchers}
        since = await self._journal.adopt_rules(row.name, fingerprints, self._settings.start)
        finality = Finality(self._chain, final_after=self._settings.final_after, final=row.final, eager=self._eager)
        self._journal.stand(row.name, row.cursor, finality.frontier(row.cursor.number, row.cursor.number))
        matchers = [replace(matcher, since=since[matcher.name]) for matcher in self._matchers]
        return Walker(self._chain, matchers, finality, self._journal, bloom=self._settings.bloom)

    async def _follow(self, walker: Walker, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._chain.wake.clear()
            try:
                await walker.advance()
            except ChainHalted as halted:
                await self._stand_still(walker, str(halted), stop)
            except ChainUnavailable as error:
                log.warning("chain.unavailable", chain=self._chain.name, reason=str(error))
                await _wait(stop, AFTER_FAULT_S)
            else:
                await self._wait_for_news(walker)

    async def _stand_still(self, walker: Walker, reason: str, stop: asyncio.Event) -> None:
        """Wait until the cursor is on the chain again; the other chains go on."""
        log.error("chain.halted", chain=self._chain.name, reason=reason)
        await self._journal.halt(self._chain.name, reason)
        while not stop.is_set():
            await _wait(stop, HALTED_S)
            if await self._holds(walker.cursor):
                await self._journal.halt(self._chain.name, None)
                log.warning("chain.resumed", chain=self._chain.name, block=walker.cursor.number)
                return

    async def _holds(self, cursor: Cursor) -> bool:
        try:
            block = await self._chain.header(cursor.number)
        except ChainUnavailable:
            return False
        return block is not None and block.hash == cursor.hash

    async def _wait_for_news(self, walker: Walker) -> None:
        """Wait for a push. Where none comes in time, look all the same: a line may be open and dead."""
        if walker.cursor.hash in self._chain.pushed:
            return
        try:
            async with asyncio.timeout(self._settings.silence.total_seconds() if self._chain.pushing else POLL_S):
                await self._chain.wake.wait()
        except TimeoutError:
            return


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
