"""
Knows up to which block a chain is safe and final.

Both come from the node's tags where it has them. Where it has none, a block is taken for final once ``final_after``
blocks stand on it, and for safe when it is final.
"""

import time

from listener.chains import Chain
from listener.chains.wire import RpcError
from listener.journal import Frontier

EVERY_S = 10.0  # between two looks, unless a rule waits for the tag


class Finality:
    """
    The tags of one chain; never goes back.

    Args:
        eager: a rule is held until a tag reaches its block, so that every new head asks.
    """

    def __init__(self, chain: Chain, *, final_after: int, final: int = 0, eager: bool = False) -> None:
        self._chain = chain
        self._final_after = final_after
        self.eager = eager
        self._next_look = 0.0
        self._has_tags: bool | None = None  # None: not known yet
        self.final = final
        self.safe = final

    async def look(self, head: int) -> None:
        """Ask for the tags, when it is time."""
        now = time.monotonic()
        if now < self._next_look and not self.eager:
            return
        self._next_look = now + EVERY_S
        final = await self._tag("finalized")
        safe = await self._tag("safe") if self.eager else None
        if final is None:
            # One fault must not replace the chain's own word by ours: a chain that has tags keeps what it said last.
            final = self.final if self._has_tags else head - self._final_after
        self.final = max(self.final, min(final, head))
        self.safe = max(self.safe, self.final, min(safe or 0, head))

    def frontier(self, head: int, walked: int) -> Frontier:
        """Say how far the chain is known when ``walked`` is its cursor: nothing is final that we did not walk."""
        return Frontier(head=max(head, walked), safe=min(self.safe, walked), final=max(min(self.final, walked), 0))

    async def _tag(self, tag: str) -> int | None:
        if self._has_tags is False:
            return None
        try:
            block = await self._chain.header(tag)
        except RpcError:
            self._has_tags = self._has_tags or False
            return None
        if block is None:
            return None
        self._has_tags = True
        return block.number
