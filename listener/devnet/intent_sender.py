"""The IntentSender contract on the local chain: its call data, and what it announced."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from listener.devnet.anvil import Anvil

ARTIFACT = Path(__file__).parent / "artifacts" / "IntentSender.json"
SEND_INTENT = "sendIntent(uint256,address,bytes)"
SEND_MANY = "sendMany(uint256,uint256,address,bytes)"


@dataclass(frozen=True)
class IntentSender:
    """One deployed IntentSender."""

    anvil: Anvil
    address: str  # checksummed

    @classmethod
    async def deploy(cls, anvil: Anvil) -> "IntentSender":
        """Deploy a new one."""
        return cls(anvil, await anvil.deploy(artifact()))

    async def send(self, chain_id: int, to: str, data: bytes) -> str:
        """Announce one intent and return the transaction's hash."""
        return await self.anvil.send(self.address, send_intent(chain_id, to, data))

    async def send_many(self, count: int, chain_id: int, to: str, data: bytes) -> str:
        """Announce ``count`` equal intents in one transaction and return its hash."""
        return await self.anvil.send(self.address, send_many(count, chain_id, to, data))

    async def events(self, *, from_block: int | str = 0, to_block: int | str = "latest") -> list[dict[str, Any]]:
        """Return what it announced on the canonical chain, as logs."""
        return await self.anvil.logs(self.address, from_block=from_block, to_block=to_block)


def send_intent(chain_id: int, to: str, data: bytes) -> bytes:
    """Encode the call that announces one intent."""
    return _selector(SEND_INTENT) + encode(["uint256", "address", "bytes"], [chain_id, to, data])


def send_many(count: int, chain_id: int, to: str, data: bytes) -> bytes:
    """Encode the call that announces ``count`` equal intents."""
    return _selector(SEND_MANY) + encode(["uint256", "uint256", "address", "bytes"], [count, chain_id, to, data])


def artifact() -> dict[str, Any]:
    """Return the compiled contract: ``abi`` and ``bytecode``."""
    compiled: dict[str, Any] = orjson.loads(ARTIFACT.read_bytes())
    return compiled


def _selector(signature: str) -> bytes:
    return keccak(text=signature)[:4]
