"""
Reads a long gap below the final block in ranges, as large as the endpoint allows and as memory bears.

Only the headers that matter are fetched: the first (its parent must be the cursor), the last (the new cursor), and
those of blocks in which a rule may fire. Every log must stand in the block that the chain names by that number.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from listener.chains import Chain, LogQuery
from listener.errors import ChainUnavailable
from listener.model import Block, Cursor, Log
from listener.rules.matcher import Matcher

FIRST_WIDTH = 128
WIDEST = 2048
MANY_LOGS = 1200  # more than this and the next range is narrower: what is read waits in memory


class Width:
    """
    How many blocks one range holds, learned from the logs that were found.

    Args:
        blocks: the first range's.
        many: logs that are too many for one range; with a third of them the next one is wider.
    """

    def __init__(self, blocks: int = FIRST_WIDTH, many: int = MANY_LOGS) -> None:
        self.blocks = blocks
        self._many = many

    def narrow(self) -> None:
        """Read less at once."""
        self.blocks = max(self.blocks // 2, 1)

    def learn(self, found: int, *, whole: bool) -> None:
        """Fit the next range to what was found in this one; ``whole`` says that it was read as wide as was wanted."""
        if found > self._many:
            self.narrow()
        elif found < self._many // 3 and whole:
            self.blocks = min(self.blocks * 2, WIDEST)


@dataclass(frozen=True, slots=True)
class Reading:
    """One range that was read: the headers that matter in their order, and each one's logs."""

    blocks: list[Block]
    logs: dict[int, list[Log]]


class RangeReader:
    """Reads ranges of one chain, and learns how wide they may be for what they hold; what a node takes, others know."""

    def __init__(self, chain: Chain, matchers: Sequence[Matcher], query: LogQuery | None) -> None:
        self._chain = chain
        self._matchers = matchers
        self._query = query
        self._width = Width()

    async def read(self, after: Cursor, last: int) -> Reading | None:
        """
        Read on from the cursor, up to block ``last`` or as far as one range reaches.

        Returns:
            None where the chain no longer holds the cursor.

        Raises:
            ChainUnavailable: it could not be read, or the answers do not fit together.
        """
        first, wanted = after.number + 1, min(last, after.number + self._width.blocks)
        try:
            end, logs = await self._logs(first, wanted)
        except ChainUnavailable:
            self._width.narrow()  # where a quorum must agree on the whole, less of it may be enough
            raise
        reading = await self._headers(after, end, logs)
        if reading is None:
            return None
        self._width.learn(len(logs), whole=end == wanted)
        return reading

    async def _logs(self, first: int, wanted: int) -> tuple[int, list[Log]]:
        return (wanted, []) if self._query is None else await self._chain.logs_between(first, wanted, self._query)

    async def _headers(self, after: Cursor, end: int, logs: Sequence[Log]) -> Reading | None:
        first = after.number + 1
        by_number: dict[int, list[Log]] = {}
        for entry in logs:
            by_number.setdefault(entry.block_number, []).append(entry)
        numbers = {first, end, *by_number}
        for matcher in self._matchers:
            numbers.update(matcher.boundaries(first, end))
        blocks = await self._chain.headers(sorted(numbers))
        if blocks[0].parent_hash != after.hash:
            return None
        for block in blocks:
            if any(entry.block_hash != block.hash for entry in by_number.get(block.number, ())):
                raise ChainUnavailable(f"chain {self._chain.name}: logs of another block {block.number} were answered")
        return Reading(blocks, by_number)
