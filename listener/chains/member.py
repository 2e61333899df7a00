"""
One endpoint in its chain's pool, with all that was learned of it: health, pace, range limit, head.

Nothing here decides which endpoint is asked; that is the pool's part.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from listener import metrics
from listener.chains.dialects import RateLimited, WrongChain
from listener.chains.health import Health
from listener.chains.limits import RangeLimit
from listener.chains.pace import Pace
from listener.chains.silence import Silence
from listener.chains.websocket import WebsocketEndpoint
from listener.chains.wire import RpcError, as_block
from listener.errors import ChainUnavailable
from listener.model import Block

log = structlog.get_logger()

SPILL_S = 0.25  # a queue as long as this, and others are asked first


class Endpoint(Protocol):
    """One URL of a chain."""

    @property
    def name(self) -> str:
        """The URL without its secrets."""
        ...

    @property
    def connected(self) -> bool:
        """Whether a call has a chance now."""
        ...

    async def call(self, method: str, params: list[Any]) -> Any:
        """Call a method and return its result, or raise ChainUnavailable."""
        ...

    async def prove(self) -> None:
        """Ask for the chain id; raise WrongChain where it is another's."""
        ...


class Company(Protocol):
    """Who is told of what comes by itself."""

    def pushed(self, member: "Member", head: Block | None) -> None:
        """Take a pushed header; None where it was none."""
        ...

    def changed(self) -> None:
        """Hear that an endpoint came or went."""
        ...


class Member:
    """
    An endpoint with its health. ``ears`` of a websocket: it takes what the line pushes.

    Args:
        position: its place in the configuration, from 1; what metrics call it.
        make: makes the endpoint; a line tells its member what it hears.
        company: the pool, to be told of what comes by itself.
    """

    def __init__(
        self,
        chain: str,
        position: int,
        make: Callable[["Member"], Endpoint],
        silence: Silence,
        company: Company,
    ) -> None:
        self.health = Health()
        self.pace = Pace()
        self.limit = RangeLimit()
        self.silence = silence
        self.head: Block | None = None
        self.head_at = float("-inf")  # when it last told its head
        self.lagging = False
        self.wrong_chain: WrongChain | None = None
        self.held = False  # not to be asked before a look has found it well
        self.attended = False  # somebody looks
        self.stirred = asyncio.Event()  # whoever attends has to look what has changed
        self._chain = chain
        self._company = company
        self._opened = 0
        self._failing = False
        self._metrics = metrics.RpcMetrics(chain, str(position))
        self.endpoint = make(self)

    @property
    def name(self) -> str:
        """The endpoint's URL without its secrets."""
        return self.endpoint.name

    @property
    def usable(self) -> bool:
        """Whether it may be asked at all."""
        return self.wrong_chain is None and self.endpoint.connected

    def ready(self, now: float) -> bool:
        """Say whether it is as good as any: neither resting nor short of turns."""
        return not self.held and now >= self.health.rest_until and self.pace.wait_s(now) <= SPILL_S

    async def call(self, method: str, params: list[Any]) -> Any:
        """
        Call a method when it is its turn, and learn from what becomes of it.

        Raises:
            RpcError: the node answered with an error.
            RateLimited: it wants fewer calls, now or since a moment ago.
            ChainUnavailable: it did not answer, or is on another chain.
        """
        wait_s = await self.pace.turn()
        if wait_s > 0:
            raise RateLimited(self.name, method, f"it asked to be left alone, for {wait_s:.0f} s more", wait_s)
        now = time.monotonic()
        try:
            result = await self.endpoint.call(method, params)
        except ChainUnavailable as error:
            self._learn(error, now)
            raise
        self._metrics.took(time.monotonic() - now)
        self._failing = False
        if self.pace.rate is not None:
            self.pace.answered()
        return result

    async def prove(self) -> None:
        """
        Ask for its chain id, whatever it was before.

        Raises:
            ChainUnavailable: it is another chain's, or it did not answer.
        """
        now = time.monotonic()
        try:
            await self.endpoint.prove()
        except ChainUnavailable as error:
            self._learn(error, now)
            raise

    async def ask_head(self) -> Block | None:
        """Ask for the newest block."""
        answer = await self.call("eth_getBlockByNumber", ["latest", False])
        return None if answer is None else as_block(answer)

    def _learn(self, error: ChainUnavailable, asked_at: float) -> None:
        now = time.monotonic()
        if isinstance(error, RpcError):
            self._metrics.failed("refused")
        elif isinstance(error, RateLimited):
            self._metrics.failed("limited")
            if self.pace.rate is None:
                log.warning("endpoint.limited", chain=self._chain, endpoint=self.name, reason=str(error))
            self.pace.refused(now, asked_at, error.retry_after_s)
        elif isinstance(error, WrongChain):
            self.on_wrong_chain(error)
        else:
            self._metrics.failed("unavailable")
            if not self._failing and not isinstance(self.endpoint, WebsocketEndpoint):  # a line tells of itself
                log.warning("endpoint.failed", chain=self._chain, endpoint=self.name, reason=str(error))
            self._failing = True
            self.rest(now)

    def rest(self, now: float) -> None:
        """Leave it alone for a while, and until it was found well where somebody looks."""
        if self.health.failed(now):
            self.held = self.attended
            self.stirred.set()

    def contradicted(self, by: str, now: float) -> None:
        """Leave it alone after others said otherwise."""
        log.warning("endpoint.disagreed", chain=self._chain, endpoint=self.name, reason=by)
        self.count_disagreement()
        self.rest(now)

    def count_disagreement(self) -> None:
        """Count an answer that others contradict."""
        self._metrics.disagreements.inc()

    def told(self, head: Block, now: float) -> None:
        """Take note of its newest block."""
        self.head = head
        self.head_at = now
        self._metrics.head.set(head.number)

    # What a line says and what becomes of it

    def on_head(self, header: Any) -> None:
        """Pass a pushed header on; one that is not a header is still a reason to look."""
        try:
            block = as_block(header)
        except ChainUnavailable:
            self._company.pushed(self, None)
            return
        self.silence.heard(block.number, time.monotonic())
        self._company.pushed(self, block)

    def on_open(self) -> None:
        """Begin to listen."""
        if self._opened:
            self._metrics.reconnects.inc()
        self._opened += 1
        self.accept()
        self.silence.opened(time.monotonic())
        self.stirred.set()
        self._company.changed()

    def on_lost(self) -> None:
        """Have somebody ask instead."""
        self._company.changed()

    def on_wrong_chain(self, error: WrongChain) -> None:
        """Refuse it, and say so once."""
        if self.wrong_chain is None:
            log.warning(
                "endpoint.refused", chain=self._chain, endpoint=self.name, reason=str(error), chain_id=error.found
            )
            self._metrics.failed("wrong_chain")
        self.wrong_chain = error
        self.head = None
        self.stirred.set()

    def accept(self) -> None:
        """Take back a refusal: it is on the right chain."""
        if self.wrong_chain is not None:
            log.info("endpoint.accepted", chain=self._chain, endpoint=self.name)
            self.wrong_chain = None
            self._company.changed()
