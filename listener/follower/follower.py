"""
The stage that follows one chain: keeps its lines open, begins where the journal stands, and walks when there is news.

A chain that cannot be read is waited out; one that left us below its final block halts, which is a state and no end.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import replace

import structlog

from listener import config
from listener.chains import Chain
from listener.errors import ChainHalted, ChainUnavailable
from listener.follower.audit import Audit
from listener.follower.finality import Finality
from listener.follower.walker import Walker
from listener.journal import ChainRow, Journal
from listener.logs import redacted
from listener.model import Cursor
from listener.rules.matcher import Matcher

log = structlog.get_logger()

OPEN_S = 3.0  # for the first websocket, before its absence is a fault
POLL_S = 1.0  # between two looks at the head while nothing is pushed
AFTER_FAULT_S = 0.25
LONGEST_REST_S = 5.0
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
        self._faults = _Faults(chain.name)

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until asked to stop; a step is written whole or not at all, so that stopping need not wait for one."""
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(line.run()) for line in self._chain.lines]
            running.append(group.create_task(self._follow()))
            await stop.wait()
            for each in running:
                each.cancel()

    async def _begin(self) -> tuple[Walker, Audit]:
        """Find where to walk from; on a chain's first run, write it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OPEN_S):
                await self._chain.opened()
        while True:
            try:
                row = await self._journal.chain(self._chain.name) or await self._first_run()
                return await self._ready(row)
            except ChainUnavailable as error:
                await self._faults.rest(error)

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

    async def _ready(self, row: ChainRow) -> tuple[Walker, Audit]:
        fingerprints = {matcher.name: matcher.fingerprint for matcher in self._matchers}
        since = await self._journal.adopt_rules(row.name, fingerprints, self._settings.start)
        finality = Finality(self._chain, final_after=self._settings.final_after, final=row.final, eager=self._eager)
        self._journal.stand(row.name, row.cursor, finality.frontier(row.cursor.number, row.cursor.number))
        matchers = [replace(matcher, since=since[matcher.name]) for matcher in self._matchers]
        audit = await self._journal.audit_row(row.name)
        bloom = self._settings.bloom and not audit.bloom_denied
        walker = Walker(self._chain, matchers, finality, self._journal, bloom=bloom)
        return walker, Audit(
            self._chain,
            matchers,
            self._journal,
            audited=audit.audited,
            bloom_denied=audit.bloom_denied,
            on_bloom_denied=walker.distrust_blooms,
        )

    async def _follow(self) -> None:
        walker, audit = await self._begin()
        async with asyncio.TaskGroup() as group:
            group.create_task(audit.run())
            await self._walk(walker)

    async def _walk(self, walker: Walker) -> None:
        told = True  # of the newest blocks, by those who push
        while True:
            self._chain.wake.clear()
            before = walker.cursor
            try:
                await walker.advance()
            except ChainHalted as halted:
                await self._stand_still(walker, str(halted))
            except ChainUnavailable as error:
                if walker.cursor != before:
                    self._faults.end()  # it went on for a while: no longer the same outage
                await self._faults.rest(error)
                told = True  # by the lines that are made anew; what is dead is not known of them yet
            else:
                self._faults.end()
                self._journal.look(self._chain.name)
                if not told and walker.cursor != before:
                    self._chain.drop_lines("blocks came that it did not tell of")
                told = await self._wait_for_news(walker)

    async def _stand_still(self, walker: Walker, reason: str) -> None:
        """Wait until the cursor is on the chain again; the other chains go on."""
        log.error("chain.halted", chain=self._chain.name, reason=reason)
        await self._journal.halt(self._chain.name, redacted(reason))
        while not await self._holds(walker.cursor):  # noqa: ASYNC110 - a chain tells nobody that it is back
            await asyncio.sleep(HALTED_S)
        await self._journal.halt(self._chain.name, None)
        log.warning("chain.resumed", chain=self._chain.name, block=walker.cursor.number)

    async def _holds(self, cursor: Cursor) -> bool:
        try:
            block = await self._chain.header(cursor.number)
        except ChainUnavailable:
            return False
        return block is not None and block.hash == cursor.hash

    async def _wait_for_news(self, walker: Walker) -> bool:
        """Wait for a push; False where none came in time: a line may be open and dead, so that we look all the same."""
        if walker.cursor.hash in self._chain.pushed:
            return True
        pushing = self._chain.pushing
        try:
            async with asyncio.timeout(self._settings.silence.total_seconds() if pushing else POLL_S):
                await self._chain.wake.wait()
        except TimeoutError:
            return not pushing
        return True


class _Faults:
    """The failures in a row of one chain: an outage is one warning, and rests that grow."""

    def __init__(self, chain: str) -> None:
        self._chain = chain
        self._count = 0

    async def rest(self, error: ChainUnavailable) -> None:
        """Leave the chain alone for a moment."""
        level = log.debug if self._count else log.warning
        level("chain.unavailable", chain=self._chain, reason=str(error))
        pause = min(LONGEST_REST_S, AFTER_FAULT_S * 2 ** min(self._count, 10))
        self._count += 1
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret

    def end(self) -> None:
        """Say that the chain can be read again."""
        if self._count:
            log.info("chain.available", chain=self._chain, failures=self._count)
            self._count = 0
