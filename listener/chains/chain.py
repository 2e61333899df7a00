"""
One chain as its follower and its handlers see it: calls over whichever endpoint works, and the heads that were pushed.

Which endpoint is asked, and which is believed, is decided in ``pool.py`` and ``quorum.py``.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import aiohttp
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from listener.chains.http import HttpEndpoint
from listener.chains.log_reader import LogReader
from listener.chains.member import Member
from listener.chains.pool import Missing, Pool
from listener.chains.quorum import Quorum
from listener.chains.vote import confirm_gone
from listener.chains.websocket import WebsocketEndpoint
from listener.chains.wire import LogQuery, as_block, quantity
from listener.errors import ChainUnavailable
from listener.model import Block, Cursor, Log

S = TypeVar("S")
T = TypeVar("T")

PUSHED = 128  # headers kept from the push; older ones are fetched


class Chain:
    """
    Reads one chain; ``wake`` is set whenever there may be something new.

    Args:
        max_lag_s: an endpoint whose newest block is older than the best one's by more than this is not asked for what
            decides about tasks.
        silence_s: the longest that a websocket may be silent before it is looked at.
        quorum: how many endpoints must agree on a block's hash and its logs.
    """

    def __init__(
        self, name: str, chain_id: int, *, max_lag_s: float = 60.0, silence_s: float = 30.0, quorum: int = 1
    ) -> None:
        self.name = name
        self.chain_id = chain_id
        self.wake = asyncio.Event()
        self.pushed: dict[bytes, Block] = {}  # by parent hash: what to walk next
        self.cuts = 0  # how often the last line that pushed was lost
        self.pool = Pool(
            name, max_lag_s=max_lag_s, silence_s=silence_s, on_head=self._on_head, on_change=self._on_change
        )
        self._quorum = Quorum(name, self.pool, quorum)
        self._logs = LogReader(name, self.pool, self._quorum)

    def add(self, url: str, shown: str, session: aiohttp.ClientSession) -> None:
        """Add an endpoint, after those that are preferred to it; ``shown`` is its URL without secrets."""
        if url.startswith("ws"):
            self.pool.add(lambda member: WebsocketEndpoint(url, shown, self.chain_id, member))
        else:
            self.pool.add(lambda _member: HttpEndpoint(url, shown, self.chain_id, session))

    def attended(self) -> AbstractAsyncContextManager[None]:
        """Keep the lines open and look after the endpoints until the block ends."""
        return self.pool.attended()

    def _on_head(self, block: Block | None) -> None:
        """Keep a pushed header as a hint; one that is not a header, or that a quorum has to confirm, only wakes."""
        if block is not None and self._quorum.size == 1:
            while len(self.pushed) >= PUSHED:
                self.pushed.pop(next(iter(self.pushed)))
            self.pushed.pop(block.parent_hash, None)
            self.pushed[block.parent_hash] = block
        self.wake.set()

    def _on_change(self) -> None:
        """Wake whoever follows: a line was opened, or one that stood was lost."""
        if not self.pushing:
            self.cuts += 1
        self.wake.set()

    @property
    def pushing(self) -> bool:
        """Whether a websocket tells of new heads, so that asking for them can be rare."""
        return self.pool.pushing

    @property
    def connected(self) -> bool:
        """Whether any endpoint may be called."""
        return any(member.usable for member in self.pool.members)

    @property
    def head(self) -> Block | None:
        """The newest block that an endpoint told of."""
        return self.pool.best

    @property
    def told_at(self) -> float:
        """When an endpoint last told how far it is, on the monotonic clock; minus infinity where none has."""
        return max((member.head_at for member in self.pool.members), default=float("-inf"))

    @property
    def has_several(self) -> bool:
        """Whether there is more than one endpoint."""
        return len(self.pool.members) > 1

    async def opened(self) -> None:
        """Wait until an endpoint may be called and, where there are several, has told how far it is."""
        while not self.connected:
            self.wake.clear()
            await self.wake.wait()
        if self.has_several:
            await self.pool.look_at_all()

    async def best_head(self, patience_s: float) -> Block | None:
        """
        Ask every endpoint for its newest block, and return the newest of them; None where nobody has told one.

        Args:
            patience_s: how long to wait for those that are not connected yet.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while not all(member.usable or member.wrong_chain for member in self.pool.members):
                    self.wake.clear()
                    await self.wake.wait()
        await self.pool.look_at_all()
        return self.pool.best

    # Calls

    async def call(self, method: str, params: list[Any]) -> Any:
        """
        Call a method at the first endpoint that answers.

        Raises:
            RpcError: the preferred endpoint answered with an error and no other did better.
            ChainUnavailable: none answered.
        """
        return await self.pool.first(lambda member: member.call(method, params), critical=False)

    @retry(
        retry=retry_if_exception_type(ChainUnavailable),
        stop=stop_after_attempt(3),
        wait=wait_random_exponential(multiplier=0.1, max=1),
        reraise=True,
    )
    async def header(self, block: int | str) -> Block | None:
        """Return the header with this number or tag, None where the chain has none."""
        if self._quorum.size > 1:
            number = block if isinstance(block, int) else await self._quorum.heads(block)
            return None if number is None else await self._header(number)
        tag = block if isinstance(block, str) else quantity(block)
        return await self.pool.first(lambda member: self.pool.tagged(member, tag), critical=True)

    async def headers(self, numbers: Sequence[int]) -> list[Block]:
        """
        Return the headers with these numbers, in their order.

        Raises:
            ChainUnavailable: one of them is not there (yet).
        """
        return await _together(self._header, numbers)

    async def _header(self, number: int) -> Block:
        async def ask(member: Member) -> Block:
            answer = await member.call("eth_getBlockByNumber", [quantity(number), False])
            if answer is None:
                raise Missing(f"{member.name}: it has no block {number}")
            block = as_block(answer)
            if block.number != number:
                raise ChainUnavailable(f"{member.name}: a block was answered with another number than asked")
            return block

        if self._quorum.size == 1:
            return await self.pool.first(ask, critical=True)
        return await self._quorum.agreed(ask, f"block {number}", lambda block: block.hash)

    async def logs_of(self, blocks: Sequence[Block], query: LogQuery) -> list[list[Log]]:
        """
        Return the logs of each block, read by its hash, so that a reorg can never mix two chains.

        Raises:
            ChainUnavailable: not all could be read, for instance because a block is gone.
        """
        return await _together(lambda block: self._logs.of_block(block, query), blocks)

    async def logs_between(
        self, first: int, last: int, query: LogQuery, *, elsewhere: bool = False
    ) -> tuple[int, list[Log]]:
        """
        Read the logs of a range of blocks, as far as an endpoint goes at once.

        With ``elsewhere``, endpoints that did not give them the first time are asked before those that did.

        Returns:
            The last block that was read, which is ``first`` at least, and the logs in chain order.
        """
        return await self._logs.between(first, last, query, elsewhere=elsewhere)

    async def confirm_gone(self, cursor: Cursor) -> None:
        """
        Make sure that a block has left the chain, and that not only one endpoint is behind, forked or another chain's.

        Raises:
            ChainUnavailable: others still hold it.
        """
        await confirm_gone(self.name, self.pool.members, cursor)


async def _together(ask: Callable[[S], Awaitable[T]], subjects: Sequence[S]) -> list[T]:
    """Ask about all at once, at most PUSHED in flight; the first that fails ends the others."""
    if len(subjects) == 1:
        return [await ask(subjects[0])]
    slots = asyncio.Semaphore(PUSHED)
    running: list[asyncio.Task[Any]] = []
    failures: list[ChainUnavailable] = []

    async def one(subject: S) -> Any:
        try:
            async with slots:
                return await ask(subject)
        except ChainUnavailable as error:
            # Kept, not raised: before Python 3.13 a group that fails while it is cancelled forgets the cancelling.
            failures.append(error)
            for each in running:
                each.cancel()

    async with asyncio.TaskGroup() as group:
        running += [group.create_task(one(subject)) for subject in subjects]
    if failures:
        raise failures[0]
    return [each.result() for each in running]
