"""Which logs an event rule takes: by address and topics at the endpoint, by bloom in a header, by value here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from eth_hash.auto import keccak
from hexbytes import HexBytes

from listener.errors import ConfigError
from listener.model import Event, Log
from listener.rules.abi import EventAbi, UndecodableLog
from listener.rules.where import Condition
from listener.rules.words import checksummed

Topics = tuple[tuple[bytes, ...] | None, ...]


@dataclass(frozen=True)
class EventFilter:
    """One event of one contract, with conditions."""

    address: str  # lower-case 0x hex
    event: EventAbi
    topics: Topics  # as eth_getLogs takes them: alternatives for each position, None for any
    conditions: tuple[Condition, ...] = ()  # what the topics do not say already

    def matches(self, log: Log) -> bool:
        """
        Tell whether a log is one of the rule's.

        A log that cannot be decoded matches whatever the conditions: its task then fails and is seen, where leaving it
        out would be a trigger missed in silence.
        """
        if log.address != self.address or len(log.topics) != self.event.topic_count:
            return False
        for topic, allowed in zip(log.topics, self.topics, strict=False):
            if allowed is not None and topic not in allowed:
                return False
        if not self.conditions:
            return True
        try:
            args = self.event.decode(log)
        except UndecodableLog:
            return True
        return all(condition.holds(args) for condition in self.conditions)

    def decode(self, log: Log) -> Event:
        """
        Give a log as a handler sees it.

        Raises:
            UndecodableLog: the log does not hold what the ABI says.
        """
        return Event(
            name=self.event.name,
            args=self.event.decode(log),
            address=checksummed(bytes.fromhex(log.address[2:])),
            transaction_hash=HexBytes(log.transaction_hash),
            log_index=log.index,
        )

    def excluded_by(self, bloom: int) -> bool:
        """Tell whether a header's ``logsBloom`` says that no log of the block can match."""
        address, positions = self._masks
        if bloom & address != address:
            return True
        return not all(any(bloom & mask == mask for mask in alternatives) for alternatives in positions)

    @cached_property
    def _masks(self) -> tuple[int, tuple[tuple[int, ...], ...]]:
        positions = [tuple(map(_bloom_bits, allowed)) for allowed in self.topics if allowed is not None]
        return _bloom_bits(bytes.fromhex(self.address[2:])), tuple(positions)


def event_filter(address: str, event: EventAbi, conditions: Sequence[Condition]) -> EventFilter:
    """
    Make the filter of an event rule: conditions that a topic can say go to the topics, the others stay.

    Raises:
        ConfigError: two conditions on one argument leave it no value.
    """
    allowed: dict[str, set[bytes]] = {}
    others: list[Condition] = []
    for condition in conditions:
        words = condition.words(event)
        if words is None:
            others.append(condition)
            continue
        allowed[condition.argument] = allowed.get(condition.argument, set(words)) & set(words)
        if not allowed[condition.argument]:
            raise ConfigError(f"where.{condition.argument}: eq and in have no value in common, so nothing can match")
    return EventFilter(address.lower(), event, _topics(event, allowed), tuple(others))


def _topics(event: EventAbi, allowed: Mapping[str, set[bytes]]) -> Topics:
    """List the alternatives by position, without the ones at the end that allow anything."""
    topics: list[tuple[bytes, ...] | None] = [(event.topic0,)]
    topics.extend(tuple(sorted(allowed[name])) if name in allowed else None for name in event.topics)
    while topics[-1] is None:
        topics.pop()
    return tuple(topics)


def _bloom_bits(value: bytes) -> int:
    """Give the three bits, of 2048, that an address or a topic sets in a bloom (yellow paper, M3:2048)."""
    digest = keccak(value)
    bits = 0
    for start in (0, 2, 4):
        bits |= 1 << (int.from_bytes(digest[start : start + 2], "big") & 2047)
    return bits
