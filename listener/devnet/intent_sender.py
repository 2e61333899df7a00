"""The IntentSender contract on the local chain: its call data, and what it announced."""

from typing import Any

from listener.devnet import contract
from listener.devnet.anvil import Anvil

SEND_INTENT = "sendIntent(uint256,address,bytes)"
SEND_MANY = "sendMany(uint256,uint256,address,bytes)"


class IntentSender(contract.Contract):
    """One deployed IntentSender."""

    @classmethod
    async def deploy(cls, anvil: Anvil) -> "IntentSender":
        """Deploy a new one."""
        return cls(anvil, await anvil.deploy(artifact()))

    async def send(self, chain_id: int, to: str, data: bytes) -> str:
        """Announce one intent and return the transaction's hash."""
        return await self.transact(SEND_INTENT, chain_id, to, data)

    async def send_many(self, count: int, chain_id: int, to: str, data: bytes) -> str:
        """Announce ``count`` equal intents in one transaction and return its hash."""
        return await self.transact(SEND_MANY, count, chain_id, to, data)


def send_intent(chain_id: int, to: str, data: bytes) -> bytes:
    """Encode the call that announces one intent."""
    return contract.call(SEND_INTENT, chain_id, to, data)


def send_many(count: int, chain_id: int, to: str, data: bytes) -> bytes:
    """Encode the call that announces ``count`` equal intents."""
    return contract.call(SEND_MANY, count, chain_id, to, data)


def artifact() -> dict[str, Any]:
    """Return the compiled contract: ``abi`` and ``bytecode``."""
    return contract.artifact("IntentSender")
