"""An operator's health endpoint on loopback: it signs block hashes, lies, or is down, as it is told."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web
from eth_account import Account as Signing
from eth_account.messages import encode_defunct
from eth_utils.crypto import keccak

from listener.devnet.accounts import Account
from listener.devnet.service import Service

WELL, DOWN, LYING = "well", "down", "lying"


class Operator(Service):
    """
    One operator; use it as an async context manager.

    Args:
        account: whose key signs.
        block_hash: gives the hash of a block by its number, as 0x hex; None where there is none.
    """

    def __init__(self, account: Account, block_hash: Callable[[int], Awaitable[str | None]], *, port: int = 0) -> None:
        super().__init__(port)
        self.account = account
        self.state = WELL
        self.asked = 0
        self.after: Callable[[dict[str, Any]], Any] | None = None  # what it answers in place of the true result
        self._block_hash = block_hash

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked += 1
        if self.state == DOWN:
            return web.Response(status=503)
        asked = orjson.loads(await request.read())
        found = await self._block_hash(asked["params"][0]) or f"0x{'00' * 32}"
        if self.state == LYING:
            found = f"0x{bytes.fromhex(found[2:])[::-1].hex()}"
        signed = Signing.sign_message(encode_defunct(keccak(hexstr=found)), self.account.private_key)
        result: Any = {
            "blockHash": found,
            "signature": f"0x{bytes(signed.signature).hex()}",
            "address": self.account.address,
        }
        if self.after is not None:
            result = self.after(result)
        return web.Response(
            body=orjson.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), content_type="application/json"
        )
