"""
A web3.py provider over our own endpoints, pinned to one block. Importing this imports web3.

A handler that reads "latest" twice reads two different chains; pinned by hash it reads what its trigger saw, or fails.
"""

import asyncio
from typing import Any

from web3.providers.async_base import AsyncBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from listener.chains.chain import Chain
from listener.chains.wire import RpcError, quantity

# Where each method takes the block it reads at.
_BLOCK_PARAM = {
    "eth_call": 1,
    "eth_getBalance": 1,
    "eth_getCode": 1,
    "eth_getTransactionCount": 1,
    "eth_getStorageAt": 2,
    "eth_getProof": 2,
    "eth_estimateGas": 1,
}
_NEWEST = ("latest", None)  # what web3.py asks for where the handler named no block


class PinnedProvider(AsyncBaseProvider):
    """
    Sends web3.py's calls over a chain's endpoints, reading at one block.

    The calls cross to the stages' loop, for handlers have a loop of their own. A block that a handler names itself is
    left as it is.
    """

    def __init__(self, chain: Chain, loop: asyncio.AbstractEventLoop, block: int | bytes | str) -> None:
        super().__init__()
        self._chain = chain
        self._loop = loop
        self._block = _block_param(block)

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Make one call; a node's error is handed to web3.py as such."""
        call = self._chain.call(*self._pinned(method, list(params)))
        try:
            result = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self._loop))
        except RpcError as error:
            return {"jsonrpc": "2.0", "id": 1, "error": {"code": error.code, "message": str(error)}}
        return {"jsonrpc": "2.0", "id": 1, "result": result}

    async def is_connected(self, show_traceback: bool = False) -> bool:  # noqa: ARG002, FBT001, FBT002 - web3.py's signature
        """Say whether any endpoint is connected."""
        return self._chain.connected

    def _pinned(self, method: str, params: list[Any]) -> tuple[str, list[Any]]:
        if method == "eth_getBlockByNumber" and params[0] in _NEWEST:
            if isinstance(self._block, dict):
                return "eth_getBlockByHash", [self._block["blockHash"], *params[1:]]
            return method, [self._block, *params[1:]]
        place = _BLOCK_PARAM.get(method, len(params) + 1)
        if len(params) == place:
            return method, [*params, self._block]
        if len(params) > place and params[place] in _NEWEST:
            return method, [*params[:place], self._block, *params[place + 1 :]]
        return method, params


def _block_param(block: int | bytes | str) -> Any:
    if isinstance(block, int):
        return quantity(block)
    if isinstance(block, bytes):
        # EIP-1898; canonical is not required: a reorg is the journal's business, not a contract read's.
        return {"blockHash": "0x" + block.hex()}
    return block
