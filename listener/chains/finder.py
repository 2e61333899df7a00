"""
Finds a rule's trigger again, by its block's number: what a claim is judged by.

It reads the canonical chain as it is now and keeps nothing but the logs of a few blocks by their hash, since one block
may hold a thousand events of which each is asked for.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from hexbytes import HexBytes

from listener.chains.chain import Chain
from listener.chains.wire import LogQuery
from listener.errors import ChainUnavailable, NotPossible
from listener.model import Block, Event, Log, Occasion, Trigger
from listener.rules.matcher import Matcher

KEPT = 4  # blocks
AGAIN_S = 0.25  # between looks at a chain that cannot be read, or has not come so far


class Finder:
    """
    Finds the triggers of one rule.

    Args:
        matcher: None for a rule whose tasks no block makes.
        loop: the stages' loop, where the chain's connections live; ``find`` may be called on any other.
    """

    def __init__(self, chain: Chain, matcher: Matcher | None, loop: asyncio.AbstractEventLoop) -> None:
        self._chain = chain
        self._matcher = matcher
        self._loop = loop
        self._logs: dict[bytes, list[Log]] = {}
        self._reading = asyncio.Lock()

    async def find(self, block_number: int, log_index: int | None, patience_s: float) -> tuple[Trigger, str] | None:
        """
        Return the trigger in a block of the canonical chain and its task's key; None where the rule finds none there.

        For ``patience_s`` a chain that cannot be read, or has no such block yet, is looked at again.

        Raises:
            ChainUnavailable: that was still so.
            NotPossible: no block makes the rule's tasks.
        """
        if self._matcher is None:
            raise NotPossible("no block makes this rule's tasks, so that none can be retraced")
        if self._matcher.filter is not None and log_index is None:
            raise ValueError("an event is found by the index of its log: give log_index too")
        wait = self._wait(self._matcher, block_number, log_index, patience_s)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(wait, self._loop))

    async def _wait(
        self, matcher: Matcher, block_number: int, log_index: int | None, patience_s: float
    ) -> tuple[Trigger, str] | None:
        ends_at = self._loop.time() + patience_s
        while True:
            try:
                return await self._find(matcher, await self._block(block_number), log_index)
            except ChainUnavailable:
                if self._loop.time() >= ends_at:
                    raise
            await asyncio.sleep(AGAIN_S)

    async def _block(self, number: int) -> Block:
        block = await self._chain.header(number)
        if block is None:
            raise ChainUnavailable(f"chain {self._chain.name}: there is no block {number} yet")
        return block

    async def _find(self, matcher: Matcher, block: Block, log_index: int | None) -> tuple[Trigger, str] | None:
        wanted = matcher.filter
        query = None if wanted is None else LogQuery.union([(wanted.address, wanted.topics)])
        if query is None:
            return self._first(matcher, block, (), log_index)
        if block.hash in self._logs:
            found = self._first(matcher, block, self._logs[block.hash], log_index)
            if found is not None:
                return found  # what is not there may have been left out when the logs were read: they are read again
        return self._first(matcher, block, await self._read(block, query), log_index)

    async def _read(self, block: Block, query: LogQuery) -> list[Log]:
        known = self._logs.get(block.hash)
        async with self._reading:
            read = self._logs.get(block.hash)
            if read is not None and read is not known:
                return read  # by someone who began to wait at the same time
            (logs,) = await self._chain.logs_of([block], query)
            while len(self._logs) >= KEPT:
                self._logs.pop(next(iter(self._logs)))
            self._logs.pop(block.hash, None)
            self._logs[block.hash] = logs
            return logs

    def _first(
        self, matcher: Matcher, block: Block, logs: Sequence[Log], log_index: int | None
    ) -> tuple[Trigger, str] | None:
        for occasion in matcher.occasions(block, logs):
            if log_index is None or (occasion.log is not None and occasion.log.index == log_index):
                event = occasion.log and matcher.filter and matcher.filter.decode(occasion.log)
                return self._trigger(occasion, event or None), occasion.key(self._chain.chain_id)
        return None

    def _trigger(self, occasion: Occasion, event: Event | None) -> Trigger:
        block = occasion.block
        return Trigger(
            rule=occasion.rule,
            chain=self._chain.name,
            chain_id=self._chain.chain_id,
            block_number=block.number,
            block_hash=HexBytes(block.hash),
            block_timestamp=block.timestamp,
            epoch=occasion.epoch,
            event=event,
            due=datetime.fromtimestamp(block.timestamp, UTC),
        )
