"""
The endpoints of one chain: who is asked, who has to wait, and who is not believed.

The first endpoint of the configuration that is well is asked; the others stand by. One that failed rests, and is asked
again by a look, not by a call that somebody waits for. One whose newest block is far behind the best is not asked for
what decides about tasks. One of another chain is not asked at all.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

import structlog

from listener.chains.attendant import Attendant
from listener.chains.dialects import RangeRefused, RateLimited
from listener.chains.member import Endpoint, Member
from listener.chains.silence import BlockTime, Silence
from listener.chains.websocket import WebsocketEndpoint
from listener.chains.wire import RpcError, as_block
from listener.errors import ChainUnavailable
from listener.model import Block

log = structlog.get_logger()

T = TypeVar("T")
Ask = Callable[[Member], Awaitable[T]]
Prefer = Callable[[Member], bool]

ROUNDS = 4  # times that all endpoints are asked while all of them only want fewer calls


class Missing(ChainUnavailable):
    """An endpoint answered well, but has not (yet) got what was asked for: no reason to leave it alone."""


class Pool:
    """
    The endpoints of one chain.

    Args:
        max_lag_s: an endpoint whose newest block is older than the best one's by more than this is a laggard.
        silence_s: the longest that a line may be silent before it is looked at.
        on_head: called with each header that is pushed, None where it was none.
        on_change: called when there may be something new to read, or another way to read it.
    """

    def __init__(
        self,
        chain: str,
        *,
        max_lag_s: float,
        silence_s: float,
        on_head: Callable[[Block | None], None],
        on_change: Callable[[], None],
    ) -> None:
        self._chain = chain
        self._max_lag_s = max_lag_s
        self._silence_s = silence_s
        self._on_head = on_head
        self._on_change = on_change
        self._block_time = BlockTime(silence_s)
        self.members: list[Member] = []

    def add(self, make: Callable[[Member], Endpoint]) -> None:
        """Add an endpoint, after those that are preferred to it."""
        silence = Silence(self._block_time, self._silence_s)
        self.members.append(Member(self._chain, len(self.members) + 1, make, silence, self))

    @property
    def pushing(self) -> bool:
        """Whether a websocket tells of new heads, so that asking for them can be rare."""
        return any(member.usable and isinstance(member.endpoint, WebsocketEndpoint) for member in self.members)

    @asynccontextmanager
    async def attended(self) -> AsyncIterator[None]:
        """Keep lines open and look after all endpoints until the block ends."""
        async with asyncio.TaskGroup() as group:
            running = []
            for member in self.members:
                if isinstance(member.endpoint, WebsocketEndpoint):
                    running.append(group.create_task(member.endpoint.run(), name=f"line {self._chain}"))
                attendant = Attendant(self, member, self._max_lag_s / 2)
                running.append(group.create_task(attendant.run(), name=f"attendant {self._chain}"))
            try:
                yield
            finally:
                for each in running:
                    each.cancel()

    # Asking

    async def first(self, ask: Ask[T], *, critical: bool, prefer: Prefer | None = None) -> T:
        """
        Ask one endpoint after the other until one has an answer.

        Args:
            ask: asks one of them.
            critical: whether the answer decides about tasks, so that laggards are not asked.
            prefer: says of an endpoint whether it is to be asked before the others.

        Raises:
            RpcError: the preferred endpoint answered with an error and no other did better.
            ChainUnavailable: none answered.
        """
        for left in reversed(range(ROUNDS)):
            failure: ChainUnavailable | None = None
            for member in self.candidates(critical=critical, prefer=prefer):
                if isinstance(failure, RpcError | Missing) and not member.ready(time.monotonic()):
                    continue  # that one is well and has answered: who is not would hardly know better
                try:
                    return await ask(member)
                except ChainUnavailable as error:
                    failure = _worse(failure, error)
            if failure is None:
                raise self._nobody()
            if not isinstance(failure, RateLimited) or not left:
                raise failure
        raise AssertionError  # the last round raises

    def candidates(self, *, critical: bool, prefer: Prefer | None = None) -> Iterator[Member]:
        """Give the endpoints in the order of preference, those that rest last: they are still better than none."""
        second = []
        for member in self.members if prefer is None else sorted(self.members, key=prefer, reverse=True):
            if not member.usable:
                continue
            if member.ready(time.monotonic()) and not member.lagging:
                yield member
            elif not (critical and member.lagging):
                second.append(member)
        yield from second

    async def look_at_all(self) -> None:
        """Let every endpoint prove its chain and tell its head, so that laggards are known before the first read."""
        async with asyncio.TaskGroup() as group:
            for member in self.members:
                if member.usable:
                    group.create_task(self.look(member))

    async def look(self, member: Member) -> bool:
        """Ask one endpoint for its chain and its head; False where it does not answer."""
        try:
            await member.prove()
            head = await member.ask_head()
        except ChainUnavailable:
            return False
        member.accept()
        if head is not None:
            self.told(member, head)
        return True

    async def tagged(self, member: Member, tag: str) -> Block | None:
        """
        Ask one endpoint for the block of a tag; None where it has none.

        Raises:
            ChainUnavailable: it did not answer, or by its answer it lags.
        """
        if tag != "latest":
            answer = await member.call("eth_getBlockByNumber", [tag, False])
            return None if answer is None else as_block(answer)
        head = await member.ask_head()
        if head is not None:
            self.told(member, head)
            if member.lagging:
                raise Missing(f"{member.name}: it lags: its newest block is {head.number}")
        return head

    def _nobody(self) -> ChainUnavailable:
        for member in self.members:
            if member.wrong_chain is not None:
                return member.wrong_chain
        lagging = [member.name for member in self.members if member.lagging and member.usable]
        if lagging:
            return ChainUnavailable(f"chain {self._chain}: every endpoint that answers lags: {', '.join(lagging)}")
        return ChainUnavailable(f"chain {self._chain}: no endpoint is connected")

    # Heads

    def told(self, member: Member, head: Block) -> None:
        """Take note of an endpoint's newest block, and judge whether it lags."""
        best = self.best
        if best is not None and head.number > best.number:
            self._block_time.passed(head.number - best.number, head.timestamp - best.timestamp)
        member.told(head, time.monotonic())
        if len(self.members) > 1:
            self._judge(member, head)

    @property
    def best(self) -> Block | None:
        """The newest of the heads that endpoints told last; none that is from the future."""
        latest = time.time() + self._max_lag_s
        heads = [each.head for each in self.members if each.head is not None and each.head.timestamp <= latest]
        return max(heads, key=lambda head: (head.timestamp, head.number), default=None)

    def _judge(self, member: Member, head: Block) -> None:
        best = self.best
        # One block behind is no lag, however slow the chain: it is on its way.
        behind_s = 0 if best is None or best.number - head.number < 2 else best.timestamp - head.timestamp
        lagging = behind_s > self._max_lag_s
        if lagging == member.lagging:
            return
        member.lagging = lagging
        if lagging and best is not None:
            log.warning(
                "endpoint.lagging",
                chain=self._chain,
                endpoint=member.name,
                head=head.number,
                best=best.number,
                behind_s=behind_s,
            )
        else:
            log.info("endpoint.caught_up", chain=self._chain, endpoint=member.name, head=head.number)
        self._on_change()

    def pushed(self, member: Member, head: Block | None) -> None:
        """Take a pushed header; None where it was none."""
        known = member.head
        # Not one that is repeated, or comes late; but a shorter branch is news.
        if head is not None and (known is None or head.number > known.number or head.timestamp > known.timestamp):
            self.told(member, head)
        self._on_head(head)

    def changed(self) -> None:
        """Hear that an endpoint came or went."""
        self._on_change()


def _worse(failure: ChainUnavailable | None, error: ChainUnavailable) -> ChainUnavailable:
    """Choose which failure is told: that of a range, else a node's own word, else the first."""
    if failure is None or (isinstance(error, RangeRefused) and not isinstance(failure, RangeRefused)):
        return error
    if isinstance(error, RpcError) and not isinstance(failure, RpcError):
        return error
    if isinstance(error, RateLimited) and not isinstance(failure, RpcError | Missing | RateLimited):
        return error
    return failure
