"""
One chain as its follower and its handlers see it: calls over whichever endpoint works, and the heads that were pushed.

Endpoints are tried in the order of the configuration; one that failed is left alone for a moment.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Protocol

import aiohttp
import structlog
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from listener.chains.http import HttpEndpoint
from listener.chains.websocket import WebsocketEndpoint
from listener.chains.wire import LogQuery, RpcError, as_block, as_logs, quantity
from listener.errors import ChainUnavailable
from listener.model import Block, Log

log = structlog.get_logger()

COOL_DOWN_S = 2.0
PUSHED = 128  # headers kept from the push; older ones are fetched


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


class Chain:
    """Reads one chain; ``wake`` is set whenever there may be something new."""

    def __init__(self, name: str, chain_id: int) -> None:
        self.name = name
        self.chain_id = chain_id
        self.wake = asyncio.Event()
        self.endpoints: list[Endpoint] = []
        self.lines: list[WebsocketEndpoint] = []  # those of them that push, and must be kept open
        self.pushed: dict[bytes, Block] = {}  # by parent hash: what to walk next
        self.cuts = 0  # how often the last line that pushed was lost
        self._rest_until: dict[Endpoint, float] = {}

    def add(self, url: str, shown: str, session: aiohttp.ClientSession) -> None:
        """Add an endpoint, after those that are preferred to it; ``shown`` is its URL without secrets."""
        if url.startswith("ws"):
            line = WebsocketEndpoint(url, shown, self.chain_id, self._on_head, self._on_change)
            self.lines.append(line)
            self.endpoints.append(line)
        else:
            self.endpoints.append(HttpEndpoint(url, shown, self.chain_id, session))

    def _on_head(self, header: Any) -> None:
        """Keep a pushed header as a hint; one that is not a header only wakes."""
        try:
            block = as_block(header)
        except ChainUnavailable:
            self.wake.set()
            return
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
        return any(line.connected for line in self.lines)

    async def opened(self) -> None:
        """Wait until an endpoint may be called."""
        while not self._in_order():
            self.wake.clear()
            await self.wake.wait()

    def drop_lines(self, reason: str) -> None:
        """End the lines that push, so that new ones are made."""
        for line in self.lines:
            line.drop(reason)

    # Calls

    async def call(self, method: str, params: list[Any]) -> Any:
        """
        Call a method at the first endpoint that answers.

        Raises:
            RpcError: the preferred endpoint answered with an error and no other did better.
            ChainUnavailable: none answered.
        """
        failure: ChainUnavailable | None = None
        for endpoint in self._in_order():
            try:
                return await endpoint.call(method, params)
            except RpcError as error:
                failure = failure if isinstance(failure, RpcError) else error
            except ChainUnavailable as error:
                self._rest_until[endpoint] = time.monotonic() + COOL_DOWN_S
                failure = failure or error
        raise failure or ChainUnavailable(f"chain {self.name}: no endpoint is connected")

    @retry(
        retry=retry_if_exception_type(ChainUnavailable),
        stop=stop_after_attempt(3),
        wait=wait_random_exponential(multiplier=0.1, max=1),
        reraise=True,
    )
    async def header(self, block: int | str) -> Block | None:
        """Return the header with this number or tag, None where the chain has none."""
        tag = block if isinstance(block, str) else quantity(block)
        answer = await self.call("eth_getBlockByNumber", [tag, False])
        return None if answer is None else as_block(answer)

    async def headers(self, numbers: Sequence[int]) -> list[Block]:
        """
        Return the headers with these numbers, in their order.

        Raises:
            ChainUnavailable: one of them is not there (yet).
        """
        found = await self._together([("eth_getBlockByNumber", [quantity(number), False]) for number in numbers])
        blocks = [as_block(answer) for answer in found]
        if any(block.number != number for block, number in zip(blocks, numbers, strict=True)):
            raise ChainUnavailable(f"chain {self.name}: a block was answered with another number than asked")
        return blocks

    async def logs_of(self, blocks: Sequence[Block], query: LogQuery) -> list[list[Log]]:
        """
        Return the logs of each block, read by its hash, so that a reorg can never mix two chains.

        Raises:
            ChainUnavailable: not all could be read, for instance because a block is gone.
        """
        answers = await self._together(
            [("eth_getLogs", query.params(blockHash="0x" + block.hash.hex())) for block in blocks]
        )
        logs = [as_logs(answer) for answer in answers]
        for block, of_block in zip(blocks, logs, strict=True):
            if any(log.block_hash != block.hash for log in of_block):
                raise ChainUnavailable(f"chain {self.name}: logs of another block than {block.number} were answered")
        return logs

    async def logs_between(self, first: int, last: int, query: LogQuery) -> list[Log]:
        """Return the logs of a range of blocks, both ends included, in chain order."""
        answer = await self.call("eth_getLogs", query.params(fromBlock=quantity(first), toBlock=quantity(last)))
        logs = as_logs(answer)
        if any(not first <= log.block_number <= last for log in logs):
            raise ChainUnavailable(f"chain {self.name}: logs outside blocks {first} to {last} were answered")
        return logs

    async def _together(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        """Make calls at once, at most PUSHED in flight; the first that fails ends the others."""
        if len(calls) == 1:
            return [await self.call(*calls[0])]
        slots = asyncio.Semaphore(PUSHED)
        running: list[asyncio.Task[Any]] = []
        failures: list[ChainUnavailable] = []

        async def one(method: str, params: list[Any]) -> Any:
            try:
                async with slots:
                    return await self.call(method, params)
            except ChainUnavailable as error:
                # Kept, not raised: before Python 3.13 a group that fails while it is cancelled forgets the cancelling.
                failures.append(error)
                for each in running:
                    each.cancel()

        async with asyncio.TaskGroup() as group:
            running += [group.create_task(one(*call)) for call in calls]
        if failures:
            raise failures[0]
        return [each.result() for each in running]

    def _in_order(self) -> list[Endpoint]:
        """Put the endpoints that rest after a failure last: they are still better than none."""
        now = time.monotonic()
        ready = [endpoint for endpoint in self.endpoints if endpoint.connected]
        return sorted(ready, key=lambda endpoint: self._rest_until.get(endpoint, 0.0) > now)
