"""
One websocket endpoint of a chain: calls, and ``newHeads`` as a hint that something is new.

Written on ``websockets`` itself, because a follower must outlive every way in which a connection ends: the reader reads
always and never waits for anybody, an answer nobody asked for is dropped, and a lost connection is made again for ever.
"""

import asyncio
import itertools
import random
from collections.abc import Callable
from typing import Any

import orjson
import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from listener.chains.http import CALL_TIMEOUT_S, check_chain_id, rpc_error
from listener.errors import ChainUnavailable

log = structlog.get_logger()

MAX_MESSAGE = 128 * 2**20  # a block with 10,000 logs is 10 MB; the library's own limit of 1 MiB would cut the line
PING_S = 15.0
LONGEST_PAUSE_S = 15.0
FAILURES = (WebSocketException, OSError, TimeoutError, ChainUnavailable)


class WebsocketEndpoint:
    """
    Keeps one websocket open. ``name`` is the URL without its secrets.

    Args:
        on_head: called on the loop with each header that the node pushes.
        on_change: called after each successful (re)connection, subscription included, for whatever was missed is to be
            read; and after each loss, for from now on somebody has to ask.
    """

    def __init__(
        self, url: str, name: str, chain_id: int, on_head: Callable[[Any], None], on_change: Callable[[], None]
    ) -> None:
        self.name = name
        self._url = url
        self._chain_id = chain_id
        self._on_head = on_head
        self._on_change = on_change
        self._ids = itertools.count(1)
        self._pending: dict[int, tuple[str, asyncio.Future[Any]]] = {}
        self._connection: ClientConnection | None = None
        self._subscribed = False
        self._heard_at = 0.0  # on the loop's clock: the last frame of any kind

    @property
    def connected(self) -> bool:
        """Whether the line is open and the subscription stands."""
        return self._subscribed

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(FAILURES),
                wait=wait_random_exponential(multiplier=0.25, max=LONGEST_PAUSE_S),
                before_sleep=self._log_failure,
            ):
                with attempt:
                    await self._session()
            # Not at once: a server that closes every line it opens would be called in a tight loop.
            await asyncio.sleep(random.uniform(0.05, 0.25))  # noqa: S311 - jitter, no secret

    async def call(self, method: str, params: list[Any]) -> Any:
        """
        Call a method and return its result.

        Raises:
            RpcError: the node answered with an error.
            ChainUnavailable: there is no connection, it was lost, or the answer took too long.
        """
        connection = self._connection
        if connection is None:
            raise ChainUnavailable(f"{self.name}: {method}: not connected")
        call_id = next(self._ids)
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        answer: asyncio.Future[Any] = loop.create_future()
        self._pending[call_id] = (method, answer)
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                body = orjson.dumps({"jsonrpc": "2.0", "id": call_id, "method": method, "params": params})
                await connection.send(body, text=True)
                return await answer
        except (WebSocketException, OSError, TimeoutError) as error:
            if isinstance(error, TimeoutError) and self._heard_at < asked_at and connection is self._connection:
                self.drop("it is open, but answers nothing")  # not this call is slow: nobody is there
            raise ChainUnavailable(f"{self.name}: {method}: {type(error).__name__}") from error
        finally:
            self._pending.pop(call_id, None)

    def drop(self, reason: str) -> None:
        """End the line that stands, so that a new one is made."""
        if self._connection is not None:
            log.warning("websocket.dropped", endpoint=self.name, reason=reason)
            self._connection.transport.abort()

    async def _session(self) -> None:
        """Open, check, subscribe, and read until the line ends; a line that had worked ends without an error."""
        async with connect(
            self._url,
            compression=None,
            max_size=MAX_MESSAGE,
            ping_interval=PING_S,
            ping_timeout=PING_S,
            close_timeout=1,
            user_agent_header=None,
        ) as connection:
            self._connection = connection
            try:
                async with asyncio.TaskGroup() as group:
                    reader = group.create_task(self._read(connection))
                    await self._subscribe()
                    log.info("websocket.opened", endpoint=self.name)
                    self._subscribed = True
                    self._on_change()
                    await reader
            except* FAILURES as failures:
                if not self._subscribed:
                    raise failures.exceptions[0] from None
                log.warning("websocket.lost", endpoint=self.name, reason=_reason(failures.exceptions[0]))
            finally:
                worked = self._subscribed
                self._connection = None
                self._subscribed = False
                self._fail_pending()
                if worked:
                    self._on_change()

    async def _subscribe(self) -> None:
        check_chain_id(self.name, await self.call("eth_chainId", []), self._chain_id)
        await self.call("eth_subscribe", ["newHeads"])

    async def _read(self, connection: ClientConnection) -> None:
        while True:
            raw = await connection.recv(decode=False)
            self._heard_at = asyncio.get_running_loop().time()
            self._receive(raw)

    def _receive(self, raw: bytes) -> None:
        try:
            message = orjson.loads(raw)
        except orjson.JSONDecodeError:
            log.debug("websocket.garbage_received", endpoint=self.name, size=len(raw))
            return
        for item in message if isinstance(message, list) else [message]:
            if not isinstance(item, dict):
                continue
            if item.get("method") == "eth_subscription":
                params = item.get("params")
                self._on_head(params.get("result") if isinstance(params, dict) else None)
                continue
            call_id = item.get("id")
            waiting = self._pending.get(call_id) if isinstance(call_id, int) else None  # any JSON value may stand here
            if waiting is None or waiting[1].done():
                continue
            method, answer = waiting
            if item.get("error") is not None:
                answer.set_exception(rpc_error(item["error"], self.name, method))
            else:
                answer.set_result(item.get("result"))

    def _fail_pending(self) -> None:
        for method, answer in self._pending.values():
            if not answer.done():
                answer.set_exception(ChainUnavailable(f"{self.name}: {method}: the connection was lost"))

    def _log_failure(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        level = log.warning if state.attempt_number == 1 else log.debug
        level("websocket.connect_failed", endpoint=self.name, attempt=state.attempt_number, reason=_reason(error))


def _reason(error: BaseException | None) -> str:
    """Say why without the library's text, which may hold the URL and so a key."""
    if isinstance(error, ChainUnavailable):
        return str(error)
    code = getattr(getattr(error, "rcvd", None), "code", None)
    return type(error).__name__ if code is None else f"{type(error).__name__} {code}"
