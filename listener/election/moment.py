"""
Which block of the attestation chain an election reads, where the trigger's block is another chain's.

It is the last one that is not later than the trigger's block. That is known only once a later one exists: until then a
performer that looks early and an attester that looks late would see two different blocks.
"""

from listener.chains import Chain
from listener.election.answers import Answers
from listener.errors import ChainUnavailable, ElectionFailed
from listener.model import Block


class AttestationBlock:
    """Finds blocks of one chain by time. Runs on the stages' loop."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._found: Answers[Block] = Answers()

    async def at(self, timestamp: int) -> Block:
        """
        Return the last block that is not later.

        Raises:
            ElectionFailed: there is no later one yet, none that old, or the chain cannot be read.
        """
        return await self._found.get(timestamp, lambda: self._find(timestamp))

    def forget(self, timestamp: int) -> None:
        """Look again next time: the block may have left the chain."""
        self._found.forget(timestamp)

    async def _find(self, timestamp: int) -> Block:
        try:
            return await self._search(timestamp)
        except ChainUnavailable as error:
            raise ElectionFailed(f"the attestation chain cannot be read: {error}") from error

    async def _search(self, timestamp: int) -> Block:
        later = await self._chain.header("latest")
        if later is None or later.timestamp <= timestamp:
            raise ElectionFailed(f"chain {self._chain.name} has no block yet that is later than the trigger's")
        step, found = 1, later
        while found.timestamp > timestamp:
            if found.number == 0:
                raise ElectionFailed(f"chain {self._chain.name} has no block that is as old as the trigger's")
            later = found
            found = await self._block(max(later.number - step, 0))
            step *= 2
        while later.number - found.number > 1:
            middle = await self._block((found.number + later.number) // 2)
            found, later = (found, middle) if middle.timestamp > timestamp else (middle, later)
        return found

    async def _block(self, number: int) -> Block:
        (block,) = await self._chain.headers([number])
        return block
