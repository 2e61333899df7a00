"""One HTTP endpoint of a chain: JSON-RPC over a keep-alive connection."""

import asyncio
import itertools
from typing import Any

import aiohttp
import orjson

from listener.chains import reasons
from listener.chains.dialects import RangeRefused, RateLimited, WrongChain, retry_after_s, rpc_error
from listener.chains.wire import RpcError
from listener.errors import ChainUnavailable

CALL_TIMEOUT_S = 20.0
MAX_REPLY = 128 * 2**20  # a block with 10,000 logs is 10 MB


class HttpEndpoint:
    """Calls one HTTP URL, once it has proved to be on the right chain. ``name`` is the URL without its secrets."""

    def __init__(self, url: str, name: str, chain_id: int, session: aiohttp.ClientSession) -> None:
        self.name = name
        self._url = url
        self._chain_id = chain_id
        self._proved = False
        self._session = session
        self._ids = itertools.count(1)

    @property
    def connected(self) -> bool:
        """HTTP has no standing connection: a call tells."""
        return True

    async def call(self, method: str, params: list[Any]) -> Any:
        """
        Call a method and return its result.

        Raises:
            RpcError: the node answered with an error.
            RateLimited: it wants fewer calls.
            WrongChain: it is on another chain.
            ChainUnavailable: it did not answer, or not with JSON-RPC.
        """
        if not self._proved:
            await self.prove()
        try:
            return await self._post(method, params)
        except (RpcError, RateLimited):
            raise
        except ChainUnavailable:
            self._proved = False  # whoever answers next behind this URL may be another node
            raise

    async def prove(self) -> None:
        """
        Ask for the chain id.

        Raises:
            WrongChain: it is that of another chain.
        """
        self._proved = False
        check_chain_id(self.name, await self._post("eth_chainId", []), self._chain_id)
        self._proved = True

    async def _post(self, method: str, params: list[Any]) -> Any:
        body = orjson.dumps({"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params})
        headers = {"content-type": "application/json"}
        try:
            async with (
                asyncio.timeout(CALL_TIMEOUT_S),
                self._session.post(self._url, data=body, headers=headers) as response,
            ):
                raw = await _body(response)
                status = response.status
                wait_s = retry_after_s(response.headers.get("Retry-After"))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ChainUnavailable(f"{self.name}: {method}: {reasons.of_error(error)}") from error
        if raw is None:
            raise RangeRefused(self.name, method, 0, f"the reply is larger than {MAX_REPLY >> 20} MiB")
        if status == 503 and wait_s is not None:
            raise RateLimited(self.name, method, "HTTP 503", wait_s)
        try:
            return result_of(raw, self.name, method, status)
        except RateLimited as error:
            error.retry_after_s = error.retry_after_s if wait_s is None else wait_s
            raise


async def _body(response: aiohttp.ClientResponse) -> bytes | None:
    """Read a body; None where it is larger than anything that we asked for."""
    length = response.content_length
    if length is not None:
        return await response.read() if length <= MAX_REPLY else None
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > MAX_REPLY:
            return None
    return b"".join(parts)


def check_chain_id(endpoint: str, answer: Any, expected: int) -> None:
    """
    Refuse an endpoint of another chain.

    Raises:
        WrongChain: it is one.
        ChainUnavailable: it does not say.
    """
    try:
        found = int(answer, 16)
    except (TypeError, ValueError) as error:
        raise ChainUnavailable(f"{endpoint}: eth_chainId: not a number: {str(answer)[:50]}") from error
    if found != expected:
        raise WrongChain(endpoint, found, expected)


def result_of(raw: bytes, endpoint: str, method: str, status: int = 200) -> Any:
    """
    Take the result out of a JSON-RPC answer.

    Raises:
        RpcError: the answer is an error.
        RateLimited: the answer is that there are too many.
        ChainUnavailable: it is not JSON-RPC at all.
    """
    try:
        answer = orjson.loads(raw)
    except orjson.JSONDecodeError as garbage:
        if status == 429:
            raise RateLimited(endpoint, method, "HTTP 429") from garbage
        if status == 413:
            raise RangeRefused(endpoint, method, 0, "HTTP 413, too large") from garbage
        said = reasons.of_status(status) if status in reasons.LOCKED_OUT else f"HTTP {status} without JSON"
        raise ChainUnavailable(f"{endpoint}: {method}: {said}") from garbage
    if isinstance(answer, dict):
        fault = answer.get("error")
        if fault is not None:
            error = rpc_error(fault, endpoint, method, status)
            if status in reasons.LOCKED_OUT:  # no answer to this call, but to who asks
                raise ChainUnavailable(f"{error} (HTTP {status})")
            raise error
        if "result" in answer:
            return answer["result"]
    raise ChainUnavailable(f"{endpoint}: {method}: HTTP {status} without a result")
