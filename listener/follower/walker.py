"""
Walks one chain from the persisted cursor, and writes what the rules find.

The cursor and a hash-linked walk from it are the only source of blocks. A pushed header is used when its parent is the
cursor, otherwise what is missing is fetched. Steady state, a gap, a reorg and a restart are the same walk.
"""

from collections.abc import Iterator, Sequence

import structlog

from listener.chains import Chain, LogQuery
from listener.errors import ChainHalted, ChainUnavailable
from listener.follower.ancestor import common_ancestor
from listener.follower.finality import Finality
from listener.follower.ranges import RangeReader, Reading
from listener.journal import Journal, Step, Written
from listener.model import Block, Cursor, Log, Occasion
from listener.rules.match import match
from listener.rules.matcher import Matcher

log = structlog.get_logger()

BATCH = 32  # blocks in one step of the walk
RANGE_FROM = 64  # final blocks ahead from which ranges are read instead of single blocks
LARGEST_STEP = 400  # triggers in one step of a range, unless one block has more


class Walker:
    """
    Moves the cursor of one chain.

    Args:
        bloom: whether a header's bloom may excuse from reading the block's logs.
        first: the walk begins where the operator wanted it to, so that what lies ahead is no gap.

    Set ``away`` where blocks may have come that nobody could tell of: the process was down, or the chain was cut off.
    """

    def __init__(  # noqa: PLR0913 - all that a walk needs
        self,
        chain: Chain,
        matchers: Sequence[Matcher],
        finality: Finality,
        journal: Journal,
        *,
        bloom: bool,
        first: bool,
    ) -> None:
        self._chain = chain
        self._matchers = matchers
        self._finality = finality
        self._journal = journal
        self._bloom = bloom
        self._first = first
        self.away = not first
        self._untold: tuple[int, int] | None = None
        self._filters = [matcher.filter for matcher in matchers if matcher.filter is not None]
        self._query = LogQuery.union((each.address, each.topics) for each in self._filters)
        self._ranges = RangeReader(chain, matchers, self._query)

    def distrust_blooms(self) -> None:
        """Read the logs of every block from now on."""
        self._bloom = False

    @property
    def cursor(self) -> Cursor:
        """The last block written."""
        return self._journal.cursors[self._chain.name]

    async def advance(self) -> None:
        """
        Walk as far as the chain goes now.

        Raises:
            ChainHalted: the chain left us below its final block.
            ChainUnavailable: it could not be read; what was written stays, the next call goes on from there.
        """
        self._untold = None
        pushed = self._take_pushed()
        if pushed:
            await self._walk(pushed, self._newest_pushed(pushed[-1]))
        else:
            await self._catch_up()
        self._first = self.away = False
        await self._finality.look(self.cursor.number)

    def _take_pushed(self) -> list[Block]:
        """Take the pushed headers that follow the cursor without a gap."""
        blocks: list[Block] = []
        at = self.cursor
        while len(blocks) < BATCH:
            block = self._chain.pushed.pop(at.hash, None)
            if block is None or block.number != at.number + 1:
                break
            blocks.append(block)
            at = block.cursor
        return blocks

    def _newest_pushed(self, block: Block) -> Block:
        """Follow the pushed headers from a block to the newest that is linked to it."""
        for _ in range(len(self._chain.pushed)):
            following = self._chain.pushed.get(block.hash)
            if following is None or following.number != block.number + 1:
                break
            block = following
        return block

    async def _catch_up(self) -> None:
        """Ask for the head and walk to it."""
        asked = False
        while True:
            head = await self._chain.header("latest")
            cursor = self.cursor
            if head is not None and head.hash == cursor.hash:
                await self._journal.release_late(self._chain.name)
                return
            if head is None or await self._is_behind(head, cursor):
                return
            self._untold = None if asked else self._untold_of(head)
            asked = True
            await self._finality.look(head.number)
            if self._finality.final - cursor.number >= RANGE_FROM:
                follows = await self._read_range(head)
            else:
                follows = await self._read_blocks(head)
            if not follows:
                await self._reorganise(head)
            elif self.cursor == head.cursor:
                await self._journal.release_late(self._chain.name)
                return

    def _untold_of(self, head: Block) -> tuple[int, int] | None:
        """
        Return first and last of the blocks ahead that should have been pushed and were not.

        Where nothing pushes, blocks that come between two looks are no gap; nor is the one block that may be told of
        in this moment.
        """
        cursor = self.cursor
        if self._first or head.number - cursor.number < 2 or not (self.away or self._chain.pushing):
            return None
        told = {block.number for block in self._chain.pushed.values()}
        last = head.number
        while last in told:
            last -= 1
        return (cursor.number + 1, last) if last > cursor.number else None

    async def _read_blocks(self, head: Block) -> bool:
        """Walk the next blocks one by one; False where they do not follow the cursor."""
        cursor = self.cursor
        blocks = await self._chain.headers(range(cursor.number + 1, min(head.number, cursor.number + BATCH) + 1))
        if not blocks or blocks[0].parent_hash != cursor.hash:
            return False
        await self._walk(blocks, head)
        return True

    async def _is_behind(self, head: Block, cursor: Cursor) -> bool:
        """Tell whether the head is one of the blocks we walked: the endpoint lags or syncs, nothing was replaced."""
        if head.number >= cursor.number:
            return False
        walked = await self._journal.history(self._chain.name, head.number, head.number)
        if head.number in walked:
            return walked[head.number] == head.hash
        await self._chain.confirm_gone(cursor)
        await self._check_genesis()
        return True

    async def _walk(self, blocks: Sequence[Block], head: Block, ancestor: Cursor | None = None) -> None:
        """Match linked blocks and write them as one step."""
        at = ancestor or self.cursor
        for block in blocks:
            if block.parent_hash != at.hash:
                raise ChainUnavailable(f"chain {self._chain.name}: it changed at block {block.number} as it was read")
            at = block.cursor
        if self._finality.eager:
            await self._finality.look(head.number)
        wanted = [block for block in blocks if self._may_hold(block)]
        logs: dict[bytes, list[Log]] = {block.hash: [] for block in blocks}
        if wanted and self._query is not None:
            answers = await self._chain.logs_of(wanted, self._query)
            logs.update(zip((block.hash for block in wanted), answers, strict=True))
        occasions = [occasion for block in blocks for occasion in match(self._matchers, block, logs[block.hash])]
        await self._write(at, head, blocks, occasions, ancestor)

    def _may_hold(self, block: Block) -> bool:
        """Tell whether a block may hold a log that a rule wants. A bloom says no for sure, unless it cannot be one."""
        if not self._filters:
            return False
        if not self._bloom or (block.bloom == 0 and block.gas_used > 0):
            return True
        return not all(each.excluded_by(block.bloom) for each in self._filters)

    async def _read_range(self, head: Block) -> bool:
        """Read one range below the final block and write it, in steps of bearable size; False as for blocks."""
        reading = await self._ranges.read(self.cursor, self._finality.final)
        if reading is None:
            return False
        for blocks, occasions in self._pieces(reading):
            await self._write(blocks[-1].cursor, head, blocks[-1:], occasions)
        return True

    def _pieces(self, reading: Reading) -> Iterator[tuple[list[Block], list[Occasion]]]:
        blocks: list[Block] = []
        occasions: list[Occasion] = []
        for block in reading.blocks:
            blocks.append(block)
            occasions += match(self._matchers, block, reading.logs.get(block.number, []))
            if len(occasions) >= LARGEST_STEP:
                yield blocks, occasions
                blocks, occasions = [], []
        if blocks:
            yield blocks, occasions

    async def _reorganise(self, head: Block) -> None:
        """
        Go back to the common ancestor and write the blocks that replace ours, as one step.

        What was final when we walked it cannot be replaced. What the chain calls final today says nothing of a block
        that was its head when we went away.
        """
        cursor, final = self.cursor, self._journal.frontiers[self._chain.name].final
        await self._chain.confirm_gone(cursor)
        walked = await self._journal.history(self._chain.name, final, cursor.number)
        try:
            ancestor = await common_ancestor(self._chain, walked, min(cursor.number, head.number))
        except ChainHalted:
            await self._check_genesis()
            lowest = min(walked, default=0)
            if lowest <= final:
                raise
            # The very block at which we began was replaced: nothing below it is ours.
            ancestor = (await self._chain.headers([lowest - 1]))[0].cursor
        last = min(head.number, max(cursor.number, ancestor.number + BATCH))
        blocks = await self._chain.headers(range(ancestor.number + 1, last + 1))
        if not blocks:
            raise ChainUnavailable(f"chain {self._chain.name}: it changed back while it was read")
        await self._walk(blocks, head, ancestor)

    async def _write(
        self,
        cursor: Cursor,
        head: Block,
        blocks: Sequence[Block],
        occasions: Sequence[Occasion],
        ancestor: Cursor | None = None,
    ) -> None:
        step = Step(
            chain=self._chain.name,
            after=self.cursor,
            cursor=cursor,
            frontier=self._finality.frontier(head.number, cursor.number),
            ancestor=ancestor,
            blocks=blocks,
            occasions=occasions,
            untold=self._untold if ancestor is None else None,
            newest=head.timestamp,
        )
        self._untold = None
        self._report(step, await self._journal.write(step, self._chain.chain_id))

    def _report(self, step: Step, written: Written) -> None:
        if step.ancestor is not None:
            log.warning(
                "chain.reorganised",
                chain=step.chain,
                ancestor=step.ancestor.number,
                depth=step.after.number - step.ancestor.number,
                cancelled=written.cancelled,
                orphaned=written.orphaned,
                revived=written.revived,
                paired=written.paired,
            )
        if written.expired:
            log.warning("triggers.expired", chain=step.chain, up_to_block=step.cursor.number, count=written.expired)
        log.debug("chain.walked", chain=step.chain, block=step.cursor.number, appended=written.appended)

    async def _check_genesis(self) -> None:
        """Call a restarted local chain what it is."""
        row = await self._journal.chain(self._chain.name)
        first = await self._chain.header(0)
        if row is not None and first is not None and first.hash != row.genesis:
            raise ChainHalted(
                f"its genesis block is 0x{first.hash.hex()}, the journal's 0x{row.genesis.hex()}: another chain, "
                f"such as a local one that was started anew; stop the daemon and give it a new journal, or run "
                f"`listener chains rewind {self._chain.name} --to latest`"
            )
