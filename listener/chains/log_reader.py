"""
Reads logs over the pool: by a block's hash, or of a range as wide as the endpoint takes.

What an endpoint refuses is asked for in smaller pieces: fewer blocks, and when one block is still too much, fewer
addresses and topics; then another endpoint. Nothing is left out, and nothing is taken for read that was not.
"""

from collections.abc import Callable
from typing import Any

import structlog

from listener.chains.dialects import RangeRefused, RateLimited
from listener.chains.member import Member
from listener.chains.pool import Pool, Prefer
from listener.chains.quorum import Quorum
from listener.chains.readers import Readers
from listener.chains.wire import LogQuery, RpcError, as_logs, quantity
from listener.errors import ChainUnavailable
from listener.model import Block, Log

log = structlog.get_logger()


class LogReader:
    """Reads the logs of one chain."""

    def __init__(self, chain: str, pool: Pool, quorum: Quorum) -> None:
        self._chain = chain
        self._pool = pool
        self._quorum = quorum
        self._readers = Readers()

    async def of_block(self, block: Block, query: LogQuery) -> list[Log]:
        """
        Return the logs of a block, read by its hash, so that a reorg can never mix two chains.

        Raises:
            ChainUnavailable: they could not be read, for instance because the block is gone.
        """

        def check(found: Log) -> None:
            if found.block_hash != block.hash:
                raise ChainUnavailable(f"chain {self._chain}: logs of another block than {block.number} were answered")

        asked: set[Member] = set()

        async def ask(member: Member) -> list[Log]:
            logs = await self._whole(member, query, check, blockHash="0x" + block.hash.hex())
            asked.add(member)
            return logs

        if self._quorum.size == 1:
            found = await self._pool.first(ask, critical=True)
        else:
            found = await self._quorum.agreed(ask, f"the logs of block {block.number}", tuple)
        self._readers.note(block.number, frozenset(asked))
        return found

    async def between(
        self, first: int, last: int, query: LogQuery, *, elsewhere: bool = False
    ) -> tuple[int, list[Log]]:
        """
        Read the logs of a range as far as an endpoint goes, at least those of its first block.

        With ``elsewhere``, endpoints that did not give them the first time are asked before those that did.

        Returns:
            The last block that was read, and the logs in chain order.

        Raises:
            ChainUnavailable: not even one block could be read, or, with a quorum, not all.
        """
        asked: set[Member] = set()
        prefer = await self._others(first, last) if elsewhere else None

        async def reach(member: Member) -> tuple[int, list[Log]]:
            found = await self._reach(member, first, last, query)
            asked.add(member)
            return found

        async def ask(member: Member) -> list[Log]:
            logs: list[Log] = []
            at = first
            while at <= last:
                end, part = await self._reach(member, at, last, query)
                logs += part
                at = end + 1
            asked.add(member)
            return logs

        if self._quorum.size == 1:
            reached = await self._pool.first(reach, critical=True, prefer=prefer)
        else:
            reached = last, await self._quorum.agreed(ask, f"the logs of blocks {first} to {last}", tuple, prefer)
        if not elsewhere:
            self._readers.note(first, frozenset(asked))
        return reached

    async def _others(self, first: int, last: int) -> Prefer:
        """Prefer who has the blocks and did not read them; where that is unknown, the usual one will have read them."""
        read = self._readers.of(first, last) or {next(self._pool.candidates(critical=True), None)}

        def has_them(member: Member) -> bool:
            return member.head is not None and member.head.number >= last

        for member in self._pool.members:
            if member not in read and member.usable and not has_them(member):
                await self._pool.look(member)  # who stands by seldom tells how far it is
        return lambda member: member not in read and has_them(member)

    async def _reach(self, member: Member, first: int, last: int, query: LogQuery) -> tuple[int, list[Log]]:
        """Read one range from one endpoint, narrower and narrower."""
        while True:
            end = min(last, first + member.limit.width - 1)

            def check(found: Log, end: int = end) -> None:
                if not first <= found.block_number <= end:
                    raise ChainUnavailable(f"chain {self._chain}: logs outside blocks {first} to {end} were answered")

            where = {"fromBlock": quantity(first), "toBlock": quantity(end)}
            if first == end:
                logs = await self._whole(member, query, check, **where)
                member.limit.read(1)
                return end, logs
            try:
                logs = await self._ask(member, query, check, **where)
            except RateLimited:
                raise  # the range is not to blame
            except RpcError as error:
                # Limits come in many texts: whatever was wrong, half as much may pass.
                self._narrow(member, first, end, str(error))
            except ChainUnavailable as error:
                # It may have been more than the node can read in time; if not, it is tried again wider after a while.
                self._narrow(member, first, end, type(error).__name__)
                raise
            else:
                member.limit.read(end - first + 1)
                return end, logs

    def _narrow(self, member: Member, first: int, end: int, reason: str) -> None:
        member.limit.refused(first, end, reason)
        log.debug("range.narrowed", chain=self._chain, endpoint=member.name, width=member.limit.width, reason=reason)

    async def _whole(self, member: Member, query: LogQuery, check: Callable[[Log], None], **where: str) -> list[Log]:
        """Read one block, in parts where it is more than the endpoint gives at once."""
        try:
            return await self._ask(member, query, check, **where)
        except RangeRefused:
            halves = query.halves()
            if halves is None:
                raise
            log.debug("block.split", chain=self._chain, endpoint=member.name, **where)
            parts = [log for half in halves for log in await self._whole(member, half, check, **where)]
            return sorted(parts, key=lambda found: found.index)

    async def _ask(self, member: Member, query: LogQuery, check: Callable[[Log], None], **where: str) -> list[Log]:
        answer: Any = await member.call("eth_getLogs", query.params(**where))
        logs = as_logs(answer)
        for each in logs:
            check(each)
        return logs
