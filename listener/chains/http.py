"""One HTTP endpoint of a chain: JSON-RPC over a keep-alive connection."""

import asyncio
import itertools
from typing import Any

import aiohttp
import orjson

from listener.chains.wire import RpcError
from listener.errors import ChainUnavailable

CALL_TIMEOUT_S = 20.0


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
            ChainUnavailable: it did not answer, not with JSON-RPC, or is on another chain.
        """
        if not self._proved:
            check_chain_id(self.name, await self._post("eth_chainId", []), self._chain_id)
            self._proved = True
        try:
            return await self._post(method, params)
        except RpcError:
            raise
        except ChainUnavailable:
            self._proved = False  # whoever answers next behind this URL may be another node
            raise

    async def _post(self, method: str, params: list[Any]) -> Any:
        body = orjson.dumps({"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params})
        headers = {"content-type": "application/json"}
        try:
            async with (
                asyncio.timeout(CALL_TIMEOUT_S),
                self._session.post(self._url, data=body, headers=headers) as response,
            ):
                raw = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # The error's own text may hold the URL, and the URL a key: only its kind is told.
            raise ChainUnavailable(f"{self.name}: {method}: {type(error).__name__}") from error
        return result_of(raw, self.name, method, status)


def check_chain_id(endpoint: str, answer: Any, expected: int) -> None:
    """
    Refuse an endpoint of another chain.

    Raises:
        ChainUnavailable: it is one, or does not say.
    """
    try:
        found = int(answer, 16)
    except (TypeError, ValueError) as error:
        raise ChainUnavailable(f"{endpoint}: eth_chainId: not a number: {str(answer)[:50]}") from error
    if found != expected:
        raise ChainUnavailable(f"{endpoint}: it is chain {found}, not {expected}; correct the endpoint or chain_id")


def result_of(raw: bytes, endpoint: str, method: str, status: int = 200) -> Any:
    """
    Take the result out of a JSON-RPC answer.

    Raises:
        RpcError: the answer is an error.
        ChainUnavailable: it is not JSON-RPC at all.
    """
    try:
        answer = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ChainUnavailable(f"{endpoint}: {method}: HTTP {status} without JSON") from error
    if isinstance(answer, dict):
        fault = answer.get("error")
        if fault is not None:
            raise rpc_error(fault, endpoint, method)
        if "result" in answer:
            return answer["result"]
    raise ChainUnavailable(f"{endpoint}: {method}: HTTP {status} without a result")


def rpc_error(fault: Any, endpoint: str, method: str) -> RpcError:
    """Turn the ``error`` member of an answer into an exception, whatever a node put there."""
    if not isinstance(fault, dict):
        return RpcError(endpoint, method, 0, str(fault)[:300])
    code = fault.get("code")
    return RpcError(endpoint, method, code if isinstance(code, int) else 0, str(fault.get("message"))[:300])
