"""
A chain that does what a script says: it grows, forks, comes back to an earlier branch, and remembers its orphans.

Nothing here does any I/O; a node serves it, or several do.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_hash.auto import keccak

GENESIS_TIME = 1_700_000_000  # Unix seconds; a block every second


@dataclass(frozen=True, slots=True)
class Emitted:
    """A log as a contract emits it, before it has a place in a block."""

    address: str
    topics: Sequence[bytes]
    data: bytes = b""
    transaction: str = "transaction"  # any name; the same one in two blocks is the same transaction, moved

    @property
    def transaction_hash(self) -> bytes:
        """The hash that the transaction has wherever it is mined."""
        return _digest("transaction", self.transaction)


@dataclass(frozen=True, slots=True)
class ScriptedBlock:
    """A block with its logs."""

    number: int
    hash: bytes
    parent_hash: bytes
    emitted: tuple[Emitted, ...] = ()

    def header(self) -> dict[str, Any]:
        """Write the header as a node does."""
        return {
            "number": hex(self.number),
            "hash": _hex(self.hash),
            "parentHash": _hex(self.parent_hash),
            "timestamp": hex(GENESIS_TIME + self.number),
            "logsBloom": f"0x{self._bloom():0512x}",
            "gasUsed": hex(21_000 * len(self.emitted)),
        }

    def logs(self) -> list[dict[str, Any]]:
        """Write its logs as a node does, in their order."""
        return [
            {
                "address": log.address.lower(),
                "topics": [_hex(topic) for topic in log.topics],
                "data": _hex(log.data),
                "blockNumber": hex(self.number),
                "blockHash": _hex(self.hash),
                "transactionHash": _hex(log.transaction_hash),
                "transactionIndex": "0x0",
                "logIndex": hex(index),
                "removed": False,
            }
            for index, log in enumerate(self.emitted)
        ]

    def _bloom(self) -> int:
        bits = 0
        for log in self.emitted:
            for value in (bytes.fromhex(log.address[2:]), *log.topics):
                digest = keccak(value)
                for start in (0, 2, 4):
                    bits |= 1 << (int.from_bytes(digest[start : start + 2]) & 2047)
        return bits


class ScriptedChain:
    """
    The blocks of one chain; ``blocks`` is the canonical one, from genesis.

    ``safe`` and ``final`` are the numbers behind those tags; None is a node that does not know the tag.
    """

    def __init__(self, height: int = 0, *, name: str = "a") -> None:
        self.name = name
        self.safe: int | None = None
        self.final: int | None = None
        self.blocks = [ScriptedBlock(0, _digest("genesis", name), bytes(32))]
        self._by_hash = {self.blocks[0].hash: self.blocks[0]}
        self._branch = name
        self._forks = 0
        self.add(count=height)

    @property
    def head(self) -> ScriptedBlock:
        """The newest block."""
        return self.blocks[-1]

    def add(self, *emitted: Emitted, count: int = 1) -> ScriptedBlock:
        """Add blocks and return the newest, which holds the logs."""
        for left in reversed(range(count)):
            parent = self.head
            block = ScriptedBlock(
                number=parent.number + 1,
                hash=_digest(parent.hash.hex(), self._branch),
                parent_hash=parent.hash,
                emitted=() if left else emitted,
            )
            self.blocks.append(block)
            self._by_hash[block.hash] = block
        return self.head

    def fork(self, depth: int) -> list[ScriptedBlock]:
        """Drop the newest blocks and return them; what is added next differs from them."""
        self._forks += 1
        self._branch = f"{self.name}{self._forks}"
        dropped, self.blocks = self.blocks[-depth:], self.blocks[:-depth]
        return dropped

    def return_to(self, blocks: Sequence[ScriptedBlock]) -> None:
        """Put blocks that were dropped back in the place of those that replaced them."""
        del self.blocks[blocks[0].number :]
        self.blocks += blocks

    def block(self, number: int) -> ScriptedBlock | None:
        """Return the canonical block with this number."""
        return self.blocks[number] if 0 <= number < len(self.blocks) else None

    def with_hash(self, block_hash: bytes) -> ScriptedBlock | None:
        """Return the canonical block with this hash; a node forgets orphans."""
        block = self._by_hash.get(block_hash)
        return block if block is not None and self.block(block.number) == block else None


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("|".join(parts).encode()).digest()


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
