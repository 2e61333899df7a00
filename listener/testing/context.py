"""
A task's context without a daemon: ``await execute(context(event=event("Transfer", {…})))``.

The same arguments always give the same context, so that a test can compare two calls of a task.
"""

import hashlib
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TypeVar, cast

import aiohttp
import structlog
from eth_utils.address import to_checksum_address
from hexbytes import HexBytes

from listener.errors import NotPossible
from listener.model import Block, Claim, ClaimContext, Event, Log, Occasion, Scope, TaskContext, Trigger
from listener.proofs import LookUp, Store
from listener.proofs.memory import Memory

SettingsT = TypeVar("SettingsT")

RULE = "test"
CHAIN = "test"
CHAIN_ID = 31337
ADDRESS = "0x5FbDB2315678afecb367f032d93F642f64180aa3"  # where a local chain puts its first contract
PERFORMER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"  # a local chain's first account
GENESIS_TIME = 1_700_000_000  # Unix seconds; a block every second

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def event(
    name: str,
    args: Mapping[str, Any],
    *,
    address: str = ADDRESS,
    transaction_hash: bytes | str | None = None,
    log_index: int = 0,
) -> Event:
    """
    Make a decoded log as a handler sees it.

    Arguments are given as plain values: bytes become HexBytes, addresses checksummed, lists tuples, tables read-only.
    Without a transaction hash each name has one of its own.
    """
    given = _digest(f"transaction of {name}") if transaction_hash is None else transaction_hash
    return Event(
        name=name,
        args=_seen(args),
        address=to_checksum_address(address),
        transaction_hash=HexBytes(given),
        log_index=log_index,
    )


def context(  # noqa: PLR0913 - one for each thing that a context holds
    settings: SettingsT | None = None,
    *,
    rule: str = RULE,
    chain: str = CHAIN,
    chain_id: int = CHAIN_ID,
    block_number: int = 1,
    block_hash: bytes | str | None = None,
    block_timestamp: int | None = None,
    epoch: int | None = None,
    event: Event | None = None,
    body: Any = None,
    due: datetime | None = None,
    performer: str | None = PERFORMER,
    http: aiohttp.ClientSession | None = None,
    w3: Any = None,
    proofs: Store | None = None,
    attempt: int = 1,
    timeout_s: float = 30,
) -> TaskContext[SettingsT]:
    """
    Make what a task is called with; everything has a default.

    ``settings`` is an instance of the module's ``Settings``. A block hash that is not given is one of the number's own,
    a timestamp (Unix seconds) counts a second a block, and ``due`` (aware) is that time. ``w3`` is what ``ctx.w3`` and
    every ``ctx.at(…)`` give. A task that asks for ``http`` or ``w3`` and was given none fails with a word on how to
    give it. ``ctx.proofs`` is a store in memory, of the whole process: what one context puts the others get, by the
    CIDs that a daemon gives too; ``proofs=memory_proofs()`` is an empty one. ``ctx.deadline`` counts down from
    ``timeout_s``.
    """
    hash_ = HexBytes(_digest(f"block {block_number} of chain {chain_id}") if block_hash is None else block_hash)
    timestamp = GENESIS_TIME + block_number if block_timestamp is None else block_timestamp
    trigger = Trigger(
        rule=rule,
        chain=chain,
        chain_id=chain_id,
        block_number=block_number,
        block_hash=hash_,
        block_timestamp=timestamp,
        epoch=epoch,
        event=event,
        body=body,
        due=datetime.fromtimestamp(timestamp, UTC) if due is None else due,
    )
    return TaskContext(
        trigger=trigger,
        key=_key(trigger),
        attempt=attempt,
        settings=cast("SettingsT", settings),
        performer=None if performer is None else to_checksum_address(performer),
        http=cast("aiohttp.ClientSession", _NotGiven("http") if http is None else http),
        log=structlog.get_logger().bind(rule=rule),
        reader=_Reader(_NotGiven("w3") if w3 is None else w3),
        proofs=_PROOFS if proofs is None else proofs,
        ends_at=time.monotonic() + timeout_s,
    )


def claim_context(  # noqa: PLR0913 - one for each thing that a context holds
    claim: Claim,
    settings: SettingsT | None = None,
    *,
    rule: str = RULE,
    chain: str = CHAIN,
    chain_id: int = CHAIN_ID,
    found: Iterable[TaskContext[Any]] | None = (),
    elected: str | None = None,
    http: aiohttp.ClientSession | None = None,
    w3: Any = None,
    proofs: Store | None = None,
    performer: str | None = None,
    timeout_s: float = 30,
) -> ClaimContext[SettingsT]:
    """
    Make what ``validate`` is called with beside its claim.

    ``found`` is what ``ctx.retrace`` finds, as contexts of ``execute``: by block number and, for events, log index;
    None for a rule whose tasks no block makes. ``elected`` is whom its election names, if it has one. All else is as
    for ``context``; there is no block, for an attester is told of none.
    """
    scope = Scope(rule=rule, chain=chain, chain_id=chain_id)

    async def elect(_again: TaskContext[SettingsT]) -> str:
        return to_checksum_address(str(elected))

    return ClaimContext(
        trigger=cast("Trigger", scope),
        key=_digest(repr(claim)).hex(),
        attempt=1,
        settings=cast("SettingsT", settings),
        performer=performer,
        http=cast("aiohttp.ClientSession", _NotGiven("http") if http is None else http),
        log=structlog.get_logger().bind(rule=rule),
        reader=_Reader(_NotGiven("w3") if w3 is None else w3),
        proofs=LookUp(_PROOFS if proofs is None else proofs),
        ends_at=time.monotonic() + timeout_s,
        claim=claim,
        finder=_Finder(None if found is None else [each.trigger for each in found]),
        elect=None if elected is None else elect,
    )


def memory_proofs(*, cid_version: int = 1) -> Store:
    """Make an empty proof store in memory."""
    return Store(Memory(), cid_version=cid_version, timeout_s=10, max_bytes=2**20)


_PROOFS = memory_proofs()


class _Finder:
    """Finds what the test gave."""

    def __init__(self, triggers: Sequence[Trigger] | None) -> None:
        self._triggers = triggers

    async def find(self, block_number: int, log_index: int | None, patience_s: float) -> tuple[Trigger, str] | None:  # noqa: ARG002 - it is there or not
        if self._triggers is None:
            raise NotPossible("no block makes this rule's tasks, so that none can be retraced")
        for trigger in self._triggers:
            at = None if trigger.event is None else trigger.event.log_index
            if trigger.block_number == block_number and log_index in {None, at}:
                return trigger, _key(trigger)
        return None


class _NotGiven:
    """Stands where a test gave nothing, and says so when the task asks for it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # copy, pickle and the like ask; they take no for an answer
            raise AttributeError(attribute)
        raise AssertionError(f"the task uses ctx.{self._name}.{attribute}: give context(…, {self._name}=…)")


class _Reader:
    """Gives the test's own AsyncWeb3, whatever block is asked for."""

    def __init__(self, w3: Any) -> None:
        self._w3 = w3

    def at(self, block: int | bytes | str) -> Any:  # noqa: ARG002 - the test's w3 knows what it answers
        return self._w3


def _key(trigger: Trigger) -> str:
    """Give the key that the journal would give: by rule, chain, block hash and log index."""
    block = Block(trigger.block_number, bytes(trigger.block_hash), b"", trigger.block_timestamp, 0, 0)
    event = trigger.event
    log = None if event is None else Log("", (), b"", block.number, block.hash, b"", event.log_index)
    return Occasion(trigger.rule, "test", block, log=log).key(trigger.chain_id)


def _seen(value: Any) -> Any:
    """Give a value the type in which a decoded argument has it."""
    if isinstance(value, Mapping):
        return MappingProxyType({name: _seen(item) for name, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(_seen(item) for item in value)
    if isinstance(value, bytes | bytearray):
        return HexBytes(value)
    if isinstance(value, str) and _ADDRESS.fullmatch(value):
        return to_checksum_address(value)
    if isinstance(value, float):
        raise TypeError(f"{value} is a float: an event's arguments are exact; write an int or text")
    return value


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
