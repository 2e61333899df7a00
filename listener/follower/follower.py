"""
The stage that follows one chain: begins where the journal stands, and walks when there is news.

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
from listener.errors import ChainHalted, ChainUnavailable, Overtaken
from listener.follower.audit import Audit
from listener.follower.finality import Finality
from listener.follower.gap import end_gap
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
        self._faults = _Faults(chain.name, journal)

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until asked to stop; a step is written whole or not at all, so that stopping need not wait for one."""
        async with asyncio.TaskGroup() as group:
            following = group.create_task(self._follow())
            await stop.wait()
            following.cancel()

    async def _begin(self) -> tuple[Walker, Audit]:
        """Find where to walk from; on a chain's first run, write it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OPEN_S):
                await self._chain.opened()
        while True:
            try:
                known = await self._journal.chain(self._chain.name)
                row = known or await self._first_run()
                await end_gap(self._chain, self._journal)
                return await self._ready(row, first=known is None)
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
        row = await self._journal.begin_chain(row, self._fingerprints, start)
        log.info("chain.begun", chain=self._chain.name, after_block=row.cursor.number)
        return row

    @property
    def _fingerprints(self) -> dict[str, str]:
        return {matcher.name: matcher.fingerprint for matcher in self._matchers}

    async def _ready(self, row: ChainRow, *, first: bool) -> tuple[Walker, Audit]:
        since = await self._journal.adopt_rules(row.name, self._fingerprints)
        finality = Finality(self._chain, final_after=self._settings.final_after, final=row.final, eager=self._eager)
        self._journal.stand(row.name, row.cursor, finality.frontier(row.cursor.number, row.cursor.number))
        matchers = [replace(matcher, since=since[matcher.name]) for matcher in self._matchers]
        audit = await self._journal.audit_row(row.name)
        bloom = self._settings.bloom and not audit.bloom_denied
        walker = Walker(self._chain, matchers, finality, self._journal, bloom=bloom, first=first)
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
        cuts = 0  # of the lines, as far as they are written
        while True:
            self._chain.wake.clear()
            if self._chain.cuts != cuts:
                await self._faults.cut_off("the line that tells of new blocks was lost")
                walker.away = True
            before = walker.cursor
            try:
                await self._journal.refresh(self._chain.name)
                await walker.advance()
            except Overtaken as error:
                log.debug("chain.overtaken", chain=self._chain.name, reason=str(error))
            except ChainHalted as halted:
                await self._stand_still(walker, str(halted))
            except ChainUnavailable as error:
                if walker.cursor != before:
                    await self._faults.end()  # it went on for a while: no longer the same outage
                await self._faults.rest(error)
                walker.away = True
            else:
                if await self._faults.end():
                    cuts = self._chain.cuts  # what was lost meanwhile was the same outage
                self._journal.look(self._chain.name)
                await self._wait_for_news(walker)

    async def _stand_still(self, walker: Walker, reason: str) -> None:
        """Wait until the cursor is on the chain again; the other chains go on."""
        log.error("chain.halted", chain=self._chain.name, reason=reason)
        await self._journal.halt(self._chain.name, redacted(reason))
        while not await self._holds(walker.cursor):
            await asyncio.sleep(HALTED_S)
            await self._journal.refresh(self._chain.name)  # another process may have found the way
        await self._journal.halt(self._chain.name, None)
        log.warning("chain.resumed", chain=self._chain.name, block=walker.cursor.number)

    async def _holds(self, cursor: Cursor) -> bool:
        try:
            block = await self._chain.header(cursor.number)
        except ChainUnavailable:
            return False
        return block is not None and block.hash == cursor.hash

    async def _wait_for_news(self, walker: Walker) -> None:
        """Wait for a push, for a while: one may be lost, and who pushes nothing has to be asked."""
        if walker.cursor.hash in self._chain.pushed:
            return
        pause_s = self._settings.silence.total_seconds() if self._chain.pushing else POLL_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._chain.wake.wait()


class _Faults:
    """The failures in a row of one chain: an outage is one warning, one incident, and rests that grow."""

    def __init__(self, chain: str, journal: Journal) -> None:
        self._chain = chain
        self._journal = journal
        self._count = 0
        self._cut_off: bool | None = None  # None: an earlier process may have left it so

    async def cut_off(self, reason: str) -> None:
        """Write that an outage began, unless it lasts already."""
        if not self._cut_off:
            self._cut_off = True
            await self._journal.lose(self._chain, reason)

    async def rest(self, error: ChainUnavailable) -> None:
        """Leave the chain alone for a moment."""
        level = log.debug if self._count else log.warning
        level("chain.unavailable", chain=self._chain, reason=str(error))
        pause = min(LONGEST_REST_S, AFTER_FAULT_S * 2 ** min(self._count, 10))
        self._count += 1
        await self.cut_off(str(error))
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret

    async def end(self) -> bool:
        """Say that the chain can be read again; True where an outage of this process ended so."""
        was_cut_off, self._cut_off = self._cut_off, False
        if was_cut_off is not False:
            await self._journal.regain(self._chain)
        if self._count:
            log.info("chain.available", chain=self._chain, failures=self._count)
            self._count = 0
        return bool(was_cut_off)
