"""
The audit sweep: reads final blocks a second time, without their blooms, for logs that an endpoint left out at first.

It only adds. It runs beside the walk, which it never stops or delays: what fails is read again later, and while the
walk is far behind the head the sweep waits.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from listener import metrics
from listener.chains import Chain, LogQuery
from listener.errors import ChainUnavailable, Overtaken
from listener.follower.ranges import Width
from listener.journal import Journal, Sweep
from listener.model import Block, Log, Occasion
from listener.rules.match import match
from listener.rules.matcher import Matcher

log = structlog.get_logger()

LOOK_S = 5.0  # between two looks, in memory only, whether enough waits
AT_LEAST = 64  # final blocks that are worth a read at once …
LONGEST_WAIT_S = 60.0  # … fewer wait so long
REST_S = 30.0  # after a read that failed
FAR_BEHIND = 64  # blocks from the head at which the walk is catching up
FIRST_WIDTH = 32
MANY_LOGS = 400  # in one range: nobody waits for the sweep, so that it has no claim to much memory


class Audit:
    """
    Sweeps one chain.

    Args:
        matchers: the chain's rules, each with the block from which it applies.
        audited: the sweep's cursor.
        on_bloom_denied: called once a header's bloom excluded a log that its block holds.
    """

    def __init__(  # noqa: PLR0913 - its place in the sweep is part of it
        self,
        chain: Chain,
        matchers: Sequence[Matcher],
        journal: Journal,
        *,
        audited: int,
        bloom_denied: bool,
        on_bloom_denied: Callable[[], None],
    ) -> None:
        self._chain = chain
        self._matchers = [matcher for matcher in matchers if matcher.filter is not None]
        self._filters = {each.name: each.filter for each in matchers if each.filter is not None}
        self._query = LogQuery.union((each.address, each.topics) for each in self._filters.values())
        self._journal = journal
        self._audited = audited
        self._bloom_denied = bloom_denied
        self._on_bloom_denied = on_bloom_denied
        self._swept_at = time.monotonic()
        self._width = Width(FIRST_WIDTH, MANY_LOGS)
        self._elsewhere = True  # a look at other endpoints than those that were read first

    async def run(self) -> None:
        """Sweep whenever enough blocks wait, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                while self._is_due():
                    await self._sweep()
            except Overtaken:
                self._audited = (await self._journal.audit_row(self._chain.name)).audited
            except ChainUnavailable as error:
                self._elsewhere = not self._elsewhere  # it must not depend on one that is on a fork for ever
                log.debug("audit.failed", chain=self._chain.name, after_block=self._audited, reason=str(error))
                await asyncio.sleep(REST_S)

    def _is_due(self) -> bool:
        frontier = self._journal.frontiers[self._chain.name]
        if frontier.head - self._journal.cursors[self._chain.name].number >= FAR_BEHIND:
            return False
        waiting = frontier.final - self._audited
        waited = time.monotonic() - self._swept_at
        return waiting >= AT_LEAST or (waiting > 0 and waited >= LONGEST_WAIT_S)

    async def _sweep(self) -> None:
        """Read one range again, as much as memory bears and an endpoint gives at once, and write what it adds."""
        through, logs = await self._logs()
        missing = await self._missing(logs)
        denied = [each for each in missing if self._is_denied(each)]
        sweep = Sweep(
            chain=self._chain.name,
            after=self._audited,
            through=through,
            occasions=missing,
            bloom_denied=bool(denied),
        )
        appended = await self._journal.write_audit(sweep, self._chain.chain_id)
        if appended is None:
            raise ChainUnavailable(f"chain {self._chain.name}: it answered logs of blocks that were not walked")
        self._audited, self._swept_at, self._elsewhere = through, time.monotonic(), True
        if appended:
            self._report(missing, appended)
        if denied and not self._bloom_denied:
            self._bloom_denied = True
            self._on_bloom_denied()
            log.warning("chain.bloom_denied", chain=self._chain.name, block=denied[0].block.number)

    async def _logs(self) -> tuple[int, list[Log]]:
        final = self._journal.frontiers[self._chain.name].final
        if self._query is None:
            return final, []
        wanted = min(final, self._audited + self._width.blocks)
        try:
            through, logs = await self._chain.logs_between(
                self._audited + 1, wanted, self._query, elsewhere=self._elsewhere
            )
        except ChainUnavailable:
            self._width.narrow()
            raise
        self._width.learn(len(logs), whole=through == wanted)
        return through, logs

    async def _missing(self, logs: Sequence[Log]) -> list[Occasion]:
        """Give the occasions that have no task; headers are fetched only where some are missing."""
        by_block: dict[tuple[int, bytes], list[Log]] = {}
        for entry in logs:
            by_block.setdefault((entry.block_number, entry.block_hash), []).append(entry)
        # What a log's key is made of is in the log; the rest of the header is not needed to know it.
        keys = {
            occasion.key(self._chain.chain_id): place
            for place, own in by_block.items()
            for occasion in self._occasions(Block(place[0], place[1], b"", 0, 0, 0), own)
        }
        known = await self._journal.known_keys(list(keys)) if keys else set()
        places = sorted({place for key, place in keys.items() if key not in known})
        if not places:
            return []
        headers = {block.number: block for block in await self._chain.headers(sorted({n for n, _ in places}))}
        found: list[Occasion] = []
        for place in places:
            block = headers.get(place[0])
            if block is None or block.hash != place[1]:
                raise ChainUnavailable(f"chain {self._chain.name}: logs of another block {place[0]} were answered")
            found += self._occasions(block, by_block[place])
        return [each for each in found if each.key(self._chain.chain_id) not in known]

    def _occasions(self, block: Block, logs: Sequence[Log]) -> list[Occasion]:
        return match(self._matchers, block, sorted(logs, key=lambda entry: entry.index))

    def _is_denied(self, occasion: Occasion) -> bool:
        return self._filters[occasion.rule].excluded_by(occasion.block.bloom)

    def _report(self, found: Sequence[Occasion], appended: int) -> None:
        metrics.audit_found.labels(self._chain.name).inc(appended)
        log.warning(
            "audit.found",
            chain=self._chain.name,
            block=found[0].block.number,
            rule=found[0].rule,
            tasks=appended,
        )
