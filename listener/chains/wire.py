"""
JSON-RPC as Ethereum nodes speak it, to and from our own values.

A node's answer is checked here, once: what passes has the right shape, what does not is the node's fault and may pass
at the next call.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from listener.errors import ChainUnavailable
from listener.model import Block, Log

_ZERO_BLOOM = "0x" + "00" * 256


class RpcError(ChainUnavailable):
    """A node answered with a JSON-RPC error."""

    def __init__(self, endpoint: str, method: str, code: int, message: str) -> None:
        super().__init__(f"{endpoint}: {method}: error {code}: {message}")
        self.code = code


@dataclass(frozen=True, slots=True)
class LogQuery:
    """
    Which logs a chain's rules could want, as one ``eth_getLogs`` filter: the union of what each wants.

    ``topics`` has a tuple of alternatives for each position, or None where anything goes.
    """

    addresses: tuple[str, ...]
    topics: tuple[tuple[bytes, ...] | None, ...]

    @classmethod
    def union(cls, wanted: Iterable[tuple[str, Sequence[tuple[bytes, ...] | None]]]) -> "LogQuery | None":
        """Join (address, topics) pairs; a position that one of them leaves open is open. None when there are none."""
        pairs = list(wanted)
        if not pairs:
            return None
        addresses = tuple(sorted({address for address, _ in pairs}))
        positions: list[tuple[bytes, ...] | None] = []
        for position in range(min(len(topics) for _, topics in pairs)):
            alternatives: set[bytes] = set()
            at_position = [topics[position] for _, topics in pairs]
            for choice in at_position:
                alternatives.update(choice or ())
            positions.append(None if None in at_position else tuple(sorted(alternatives)))
        while positions and positions[-1] is None:
            positions.pop()
        return cls(addresses, tuple(positions))

    def params(self, **where: str) -> list[dict[str, Any]]:
        """Return the parameters of ``eth_getLogs`` for ``blockHash=…`` or ``fromBlock=…, toBlock=…``."""
        topics = [None if choice is None else ["0x" + topic.hex() for topic in choice] for choice in self.topics]
        return [{"address": list(self.addresses), "topics": topics, **where}]

    def halves(self) -> "tuple[LogQuery, LogQuery] | None":
        """Split the question in two that have no log in common; None where it asks for one thing only."""
        if len(self.addresses) > 1:
            middle = len(self.addresses) // 2
            return replace(self, addresses=self.addresses[:middle]), replace(self, addresses=self.addresses[middle:])
        for position, choice in enumerate(self.topics):
            if choice is not None and len(choice) > 1:
                middle = len(choice) // 2
                before, after = self.topics[:position], self.topics[position + 1 :]
                return (
                    replace(self, topics=(*before, choice[:middle], *after)),
                    replace(self, topics=(*before, choice[middle:], *after)),
                )
        return None


def quantity(number: int) -> str:
    """Write a number as JSON-RPC does."""
    return hex(number)


def as_block(answer: Any) -> Block:
    """
    Read a header, from ``eth_getBlockBy…`` or from a ``newHeads`` notification.

    Raises:
        ChainUnavailable: it is not a header.
    """
    try:
        bloom = answer.get("logsBloom") or _ZERO_BLOOM
        return Block(
            number=_int63(answer["number"]),
            hash=_bytes32(answer["hash"]),
            parent_hash=_bytes32(answer["parentHash"]),
            timestamp=_int63(answer["timestamp"]),
            bloom=int(bloom, 16),
            gas_used=int(answer.get("gasUsed") or "0x1", 16),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ChainUnavailable(f"not a block header: {str(answer)[:200]}") from error


def as_logs(answer: Any) -> list[Log]:
    """
    Read the answer of ``eth_getLogs``: removed logs left out, the rest in chain order, each once.

    The answer is emptied on the way: a block may hold 10,000 logs, and would be in memory twice.

    Raises:
        ChainUnavailable: it is not a list of logs.

    """
    if not isinstance(answer, list):
        raise ChainUnavailable(f"not a list of logs: {str(answer)[:200]}")
    logs: dict[tuple[int, int], Log] = {}
    while answer:
        raw = answer.pop()
        try:
            log = _as_log(raw)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ChainUnavailable(f"not a list of logs: {str(raw)[:200]}") from error
        if log is not None:
            logs[log.block_number, log.index] = log
    return [logs[place] for place in sorted(logs)]


def _as_log(raw: Any) -> Log | None:
    if raw.get("removed"):
        return None
    return Log(
        address=raw["address"].lower(),
        topics=tuple([bytes.fromhex(topic[2:]) for topic in raw["topics"]]),
        data=bytes.fromhex(raw["data"][2:]),
        block_number=_int63(raw["blockNumber"]),
        block_hash=_bytes32(raw["blockHash"]),
        transaction_hash=_bytes32(raw["transactionHash"]),
        index=_int63(raw["logIndex"]),
    )


def _int63(text: str) -> int:
    value = int(text, 16)
    if not 0 <= value < 2**63:  # what the journal can keep; no chain will ever get there
        raise ValueError(f"not a number that a chain can have: {text[:80]}")
    return value


def _bytes32(text: str) -> bytes:
    value = bytes.fromhex(text[2:])
    if len(value) != 32:
        raise ValueError(f"not 32 bytes: {text}")
    return value
