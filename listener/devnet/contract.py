"""A contract of ours on the local chain, called by the signatures of its functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from eth_abi.abi import encode
from eth_abi.grammar import parse
from eth_utils.crypto import keccak

from listener.devnet.anvil import Anvil

ARTIFACTS = Path(__file__).parent / "artifacts"


@dataclass(frozen=True)
class Contract:
    """One deployed contract."""

    anvil: Anvil
    address: str  # checksummed

    async def transact(self, signature: str, *values: Any, sender: str | None = None) -> str:
        """Call a function such as ``register(address)`` in a transaction, and return its hash; it need not be mined."""
        return await self.anvil.send(self.address, call(signature, *values), sender=sender)

    async def events(self, *, from_block: int | str = 0, to_block: int | str = "latest") -> list[dict[str, Any]]:
        """Return what it announced on the canonical chain, as logs."""
        return await self.anvil.logs(self.address, from_block=from_block, to_block=to_block)


async def deploy(anvil: Anvil, name: str, types: Sequence[str] = (), values: Sequence[Any] = ()) -> Contract:
    """Deploy a contract anew, with these constructor arguments."""
    return Contract(anvil, await anvil.deploy(artifact(name), encode(types, values)))


def artifact(name: str) -> dict[str, Any]:
    """Return a compiled contract: ``abi`` and ``bytecode``."""
    compiled: dict[str, Any] = orjson.loads((ARTIFACTS / f"{name}.json").read_bytes())
    return compiled


def call(signature: str, *values: Any) -> bytes:
    """Encode a call: the function's selector and its arguments."""
    types = [part.to_type_str() for part in parse(signature[signature.index("(") :]).components]
    return keccak(text=signature)[:4] + encode(types, values)
