"""An event of a contract's ABI: its signature, its first topic, and the decoder of its logs, built once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak
from pydantic import BaseModel, ConfigDict, ValidationError

from listener.errors import ConfigError
from listener.model import Log
from listener.rules.arguments import Argument, DataReader, names
from listener.rules.nearest import suggestion


class UndecodableLog(ValueError):
    """A log carries the event's first topic, but not its arguments."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    name: str
    inputs: tuple[Argument, ...] = ()
    anonymous: bool = False

    @property
    def signature(self) -> str:
        return f"{self.name}({','.join(argument.canonical for argument in self.inputs)})"


@dataclass(frozen=True)
class EventAbi:
    """One event, ready to decode its logs."""

    name: str
    signature: str
    topic0: bytes
    arguments: Mapping[str, Argument]  # in the order of the ABI
    topics: Mapping[str, int]  # where the indexed ones stand; the first topic is the event itself
    _readers: tuple[tuple[str, int | None, DataReader], ...] = field(repr=False, compare=False)
    _data_size: int = field(repr=False)  # bytes that the heads of the other arguments take

    @property
    def topic_count(self) -> int:
        """How many topics a log of this event has."""
        return len(self.topics) + 1

    def decode(self, log: Log) -> Mapping[str, Any]:
        """
        Read the arguments of a log.

        Raises:
            UndecodableLog: the log does not hold what the ABI says.
        """
        topics, data = log.topics, log.data
        if len(topics) != self.topic_count:
            raise UndecodableLog(f"{self.signature} has {self.topic_count} topics in the ABI, the log {len(topics)}")
        if len(data) < self._data_size:
            raise UndecodableLog(f"{self.signature} has {self._data_size} bytes or more, the log {len(data)}")
        try:
            return MappingProxyType(
                {name: read(data if topic is None else topics[topic]) for name, topic, read in self._readers}
            )
        except (DecodingError, ValueError, OverflowError) as error:  # OverflowError: a pointer beyond any file
            raise UndecodableLog(f"{self.signature} cannot be read from the log: {error}") from error


def find_event(entries: Iterable[Any], wanted: str, *, source: str) -> EventAbi:
    """
    Look an event up by its name, or by its signature where several share the name.

    Args:
        entries: the ABI, as its JSON file holds it.
        wanted: ``Transfer`` or ``Transfer(address,address,uint256)``.
        source: how messages call the ABI.

    Raises:
        ConfigError: it is not there, ambiguous, anonymous or malformed.
    """
    events = {entry.signature: entry for entry in _entries(entries, source)}
    asked = "".join(wanted.split())
    found = [entry for entry in events.values() if asked in (entry.name, entry.signature)]
    if not found:
        known = events if "(" in asked else {entry.name for entry in events.values()}
        raise ConfigError(f"no event {wanted} in {source}{suggestion(asked, known)}")
    if len(found) > 1:
        forms = " or ".join(f'event = "{entry.signature}"' for entry in found)
        raise ConfigError(f"{source} holds {len(found)} events {wanted}; write {forms}")
    if found[0].anonymous:
        raise ConfigError(f"event {wanted} in {source} is anonymous: its logs cannot be told from others; use another")
    return _event(found[0], source)


def _entries(entries: Iterable[Any], source: str) -> list[_Entry]:
    try:
        return [
            _Entry.model_validate(entry)
            for entry in entries
            if isinstance(entry, Mapping) and entry.get("type") == "event"
        ]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{source} is not an ABI: an event's {place}: {first['msg']}") from error


def _event(entry: _Entry, source: str) -> EventAbi:
    named = dict(zip(names(entry.inputs), entry.inputs, strict=True))
    if len(named) < len(entry.inputs):
        raise ConfigError(f"event {entry.name} in {source} has two arguments of one name")
    for name, argument in named.items():
        if argument.problem is not None:
            raise ConfigError(f"event {entry.name} in {source}: argument {name}: {argument.problem}")
    indexed = [name for name, argument in named.items() if argument.indexed]
    topics = {name: position for position, name in enumerate(indexed, start=1)}
    return EventAbi(
        name=entry.name,
        signature=entry.signature,
        topic0=keccak(entry.signature.encode()),
        arguments=MappingProxyType(named),
        topics=MappingProxyType(topics),
        _readers=_readers(named, topics),
        _data_size=sum(argument.head_size for argument in named.values() if not argument.indexed),
    )


def _readers(
    arguments: Mapping[str, Argument], topics: Mapping[str, int]
) -> tuple[tuple[str, int | None, DataReader], ...]:
    readers: list[tuple[str, int | None, DataReader]] = []
    head = 0
    for name, argument in arguments.items():
        if argument.indexed:
            readers.append((name, topics[name], argument.topic_reader()))
        else:
            readers.append((name, None, argument.data_reader(head)))
            head += argument.head_size
    return tuple(readers)
