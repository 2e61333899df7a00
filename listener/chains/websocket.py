"""
One websocket endpoint of a chain: calls, and ``newHeads`` as a hint that something is new.

Written on ``websockets`` itself, because a follower must outlive every way in which a connection ends: the reader reads
always and never waits for anybody, an answer nobody asked for is dropped, and a lost connection is made again for ever.
"""

import asyncio
import itertools
import random
from typing import Any, Protocol

import orjson
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from listener.chains import reasons
from listener.chains.dialects import RangeRefused, RateLimited, WrongChain, retry_after_s, rpc_error
from listener.chains.http import CALL_TIMEOUT_S, MAX_REPLY, check_chain_id
from listener.errors import ChainUnavailable

log = structlog.get_logger()

PING_S = 15.0
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 15.0
HALF_LIFE_S = 30.0  # after so long a lost line counts half
WRONG_CHAIN_PAUSE_S = 60.0
FAILURES = (WebSocketException, OSError, TimeoutError, ChainUnavailable)


class Ears(Protocol):
    """Who is told what a line says and what becomes of it; called on the loop."""

    def on_head(self, header: Any) -> None:
        """Take a header that the node pushed."""
        ...

    def on_open(self) -> None:
        """Hear of a (re)connection, subscription included: whatever was missed is to be read."""
        ...

    def on_lost(self) -> None:
        """Hear of a loss: from now on somebody has to ask."""
        ...

    def on_wrong_chain(self, error: WrongChain) -> None:
        """Hear that another chain is at the other end."""
        ...


class WebsocketEndpoint:
    """Keeps one websocket open. ``name`` is the URL without its secrets."""

    def __init__(self, url: str, name: str, chain_id: int, ears: Ears) -> None:
        self.name = name
        self._url = url
        self._chain_id = chain_id
        self._ears = ears
        self._ids = itertools.count(1)
        self._pending: dict[int, tuple[str, asyncio.Future[Any]]] = {}
        self._connection: ClientConnection | None = None
        self._subscribed = False
        self._heard_at = 0.0  # on the loop's clock: the last frame of any kind
        self._losses = 0.0  # faded by time
        self._lost_at = 0.0
        self._in_a_row = 0  # attempts without a line that worked

    @property
    def connected(self) -> bool:
        """Whether the line is open and the subscription stands."""
        return self._subscribed

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            pause_s = 0.0
            try:
                await self._session()
                self._in_a_row = 0
            except FAILURES as error:
                pause_s = self._failed(error)
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                # Before Python 3.13 a group that fails while it is cancelled forgets the cancelling.
                raise asyncio.CancelledError
            # Never at once: a server that closes every line it opens would be called in a tight loop.
            await asyncio.sleep(max(pause_s, self._pause_s()))

    async def call(self, method: str, params: list[Any]) -> Any:
        """
        Call a method and return its result.

        Raises:
            RpcError: the node answered with an error.
            RateLimited: it wants fewer calls.
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
            answer.cancel()  # it may have failed while we were sending: the loop need not miss who asks it why

    async def prove(self) -> None:
        """
        Ask for the chain id.

        Raises:
            WrongChain: it is that of another chain.
        """
        check_chain_id(self.name, await self.call("eth_chainId", []), self._chain_id)

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
            max_size=MAX_REPLY,
            ping_interval=PING_S,
            ping_timeout=PING_S,
            close_timeout=1,
            user_agent_header=None,
        ) as connection:
            self._connection = connection
            failure: Exception | None = None
            worked = False
            try:
                async with asyncio.TaskGroup() as group:
                    reader = group.create_task(self._read(connection))
                    await self.prove()
                    await self.call("eth_subscribe", ["newHeads"])
                    log.info("websocket.opened", endpoint=self.name)
                    self._subscribed = True
                    self._ears.on_open()
                    await reader
            except* FAILURES as failures:
                failure = failures.exceptions[0]
                if self._subscribed:
                    log.warning("websocket.lost", endpoint=self.name, reason=_reason(failure))
            finally:
                worked = self._subscribed
                self._connection = None
                self._subscribed = False
                self._fail_pending(failure)
                if worked:
                    self._ears.on_lost()
            if failure is not None and not worked:
                raise failure

    async def _read(self, connection: ClientConnection) -> None:
        while True:
            self._receive(await connection.recv(decode=False))  # held by nobody else: it may be megabytes

    def _receive(self, raw: bytes) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        try:
            message = orjson.loads(raw)
        except orjson.JSONDecodeError:
            log.debug("websocket.garbage_received", endpoint=self.name, size=len(raw))
            return
        del raw
        for item in message if isinstance(message, list) else [message]:
            if not isinstance(item, dict):
                continue
            if item.get("method") == "eth_subscription":
                params = item.get("params")
                self._ears.on_head(params.get("result") if isinstance(params, dict) else None)
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

    def _fail_pending(self, failure: Exception | None) -> None:
        too_large = isinstance(failure, ConnectionClosed) and failure.sent is not None and failure.sent.code == 1009
        for method, answer in self._pending.values():
            if answer.done():
                continue
            if too_large and method == "eth_getLogs":  # which of several it was is not known: each may be asked again
                error: ChainUnavailable = RangeRefused(
                    self.name, method, 0, f"the reply is larger than {MAX_REPLY >> 20} MiB"
                )
            else:
                error = ChainUnavailable(f"{self.name}: {method}: the connection was lost")
            answer.set_exception(error)

    def _pause_s(self) -> float:
        """Return how long to wait for the next line: longer, the more were lost lately."""
        now = asyncio.get_running_loop().time()
        self._losses = self._losses * 0.5 ** ((now - self._lost_at) / HALF_LIFE_S) + 1
        self._lost_at = now
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (min(self._losses, 16) - 1))
        return pause_s * random.uniform(0.3, 1.0)  # noqa: S311 - jitter, no secret

    def _failed(self, error: Exception) -> float:
        """Tell of an attempt that failed, and return how long the node asks to be left alone."""
        self._in_a_row += 1
        if isinstance(error, WrongChain):
            self._ears.on_wrong_chain(error)
            return WRONG_CHAIN_PAUSE_S
        level = log.warning if self._in_a_row == 1 else log.debug
        level("websocket.connect_failed", endpoint=self.name, attempt=self._in_a_row, reason=_reason(error))
        if isinstance(error, RateLimited):
            return error.retry_after_s or 0.0
        if isinstance(error, InvalidStatus) and error.response.status_code in {429, 503}:
            return retry_after_s(error.response.headers.get("Retry-After")) or 0.0
        return 0.0


def _reason(error: BaseException | None) -> str:
    """Say why without the library's text, which may hold the URL and so a key."""
    if isinstance(error, ChainUnavailable):
        return str(error)
    if isinstance(error, InvalidStatus):
        return reasons.of_status(error.response.status_code)
    code = getattr(getattr(error, "rcvd", None), "code", None)
    if error is None or code is not None:
        return f"{type(error).__name__} {code}"
    return reasons.of_error(error)
