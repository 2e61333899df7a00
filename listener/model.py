"""
The nouns of the project as immutable values; ARCHITECTURE.md has the glossary.

Inside, hashes and data are bytes, addresses checksummed text, block numbers and wei ``int``. Nothing here does any I/O.
"""

import enum
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from hexbytes import HexBytes

if TYPE_CHECKING:
    import aiohttp
    from structlog.typing import FilteringBoundLogger
    from web3 import AsyncWeb3

SettingsT = TypeVar("SettingsT")


class State(enum.StrEnum):
    """Where a task is on its way. From ``approved`` on they are ends; with no attestation chain, so is ``accepted``."""

    PENDING = "pending"  # journaled, waiting for its confirmations or a free slot
    RUNNING = "running"  # in a handler's hands
    READY = "ready"  # signed and durable, to be sent
    ACCEPTED = "accepted"  # taken by the aggregator
    APPROVED = "approved"  # settled on chain
    REJECTED = "rejected"  # refused on chain
    UNKNOWN = "unknown"  # no outcome was seen in time
    SKIPPED = "skipped"  # nothing to do, or done under another task
    EXPIRED = "expired"  # too old when its turn came
    CANCELLED = "cancelled"  # its block left the chain before a send began
    FAILED = "failed"  # a dead letter
    DISCARDED = "discarded"  # put away by an operator


@dataclass(frozen=True, slots=True)
class Block:
    """A block's header, as far as the walk needs it."""

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int  # Unix seconds
    bloom: int  # the 2048-bit logsBloom as one integer
    gas_used: int

    @property
    def cursor(self) -> "Cursor":
        """Where a walk stands that has written this block."""
        return Cursor(self.number, self.hash, self.timestamp)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last block of a chain that is written to the journal."""

    number: int
    hash: bytes
    timestamp: int | None = field(default=None, compare=False)  # Unix seconds; None where the header was not read


@dataclass(frozen=True, slots=True)
class Log:
    """A contract log as the chain returned it."""

    address: str  # lower-case 0x hex: compared and stored, never shown
    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    block_hash: bytes
    transaction_hash: bytes
    index: int  # in its block


@dataclass(frozen=True, slots=True)
class Event:
    """A decoded log, as a handler sees it."""

    name: str
    args: Mapping[str, Any]
    address: str
    transaction_hash: HexBytes
    log_index: int


@dataclass(frozen=True, slots=True)
class Occasion:
    """
    One trigger found by the rules, before the journal knows it.

    ``log`` is what caused it (event rules), ``epoch`` its number (epoch rules).
    """

    rule: str
    trigger: str  # block | epoch | event
    block: Block
    epoch: int | None = None
    log: Log | None = None

    def key(self, chain_id: int) -> str:
        """Name the task that this cause makes: the same cause gives the same key, whoever reads it and whenever."""
        index = "" if self.log is None else str(self.log.index)
        cause = "|".join((self.rule, str(chain_id), self.block.hash.hex(), index))
        return hashlib.blake2b(cause.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What made a task, as a handler sees it."""

    rule: str
    chain: str
    chain_id: int
    block_number: int
    block_hash: HexBytes
    block_timestamp: int  # Unix seconds
    epoch: int | None = None
    event: Event | None = None
    body: Any = None
    due: datetime  # the block's time; the planned time, or the arrival


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where a claim is judged: all that ``ctx.trigger`` is in ``validate``, for an attester is told of no block."""

    rule: str
    chain: str
    chain_id: int

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"ctx.trigger has no {name} in validate: read the block from the proof, then ctx.retrace")


@dataclass(frozen=True, slots=True)
class TaskResult:
    """A handler's answer: the proof by which attesters re-check it, and the bytes that go on chain."""

    proof_of_task: str
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Payload:
    """A signed result, as it goes out."""

    proof_of_task: str
    data: bytes
    task_definition_id: int  # uint16
    performer: str  # checksummed
    digest: bytes  # 32 bytes
    signature: bytes  # 65 bytes, r ‖ s ‖ v


@dataclass(frozen=True, slots=True)
class Claim:
    """What an attester asks us to judge."""

    proof_of_task: str
    data: bytes
    task_definition_id: int
    performer: str  # checksummed

    @property
    def key(self) -> str:
        """Name the claim: equal ones have the same key. Not the contract's digest, which takes fifty times as long."""
        head = f"{self.task_definition_id}|{self.performer}|{len(self.data)}|".encode()
        return hashlib.blake2b(head + self.data + self.proof_of_task.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Our answer to a claim: ``approved`` is None when we cannot judge."""

    approved: bool | None
    reason: str = ""

    @classmethod
    def approve(cls) -> "Verdict":
        """Say that the claim is right."""
        return cls(approved=True)

    @classmethod
    def reject(cls, reason: str) -> "Verdict":
        """Say that the claim is wrong, and why."""
        return cls(approved=False, reason=reason)

    @classmethod
    def unsure(cls, reason: str) -> "Verdict":
        """Say that we cannot judge, and why."""
        return cls(approved=None, reason=reason)

    @property
    def word(self) -> str:
        """What it says, as logs and metrics name it: approve, reject or unsure."""
        return "unsure" if self.approved is None else "approve" if self.approved else "reject"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, and what only the operator may see of how it came about."""

    verdict: Verdict
    detail: str = ""

    @property
    def told(self) -> str:
        """The reason with all its detail, for logs and rows."""
        return f"{self.verdict.reason}: {self.detail}" if self.detail else self.verdict.reason


class ChainReader(Protocol):
    """Gives contract calls on one chain, pinned to a block."""

    def at(self, block: int | bytes | str) -> "AsyncWeb3[Any]":
        """Return an AsyncWeb3 whose calls read at this block number, hash or tag."""
        ...


class Proofs(Protocol):
    """Stores proofs and finds them again."""

    async def put(self, proof: Any) -> str:
        """
        Store JSON without floats and return what it goes by: a CID, or its own text where it is stored nowhere.

        In ``validate`` nothing is stored: the same text comes back, to be compared.

        Raises:
            ProofError: it cannot be written as JSON, or could not be stored.
        """
        ...

    async def get(self, cid: str) -> Any:
        """
        Return what was stored, verified against its CID, whoever served it.

        Raises:
            ProofRejected: it names no proof; a validator rejects it.
            ProofUnavailable: it could not be read; let through, it means *unsure*.
        """
        ...


class Finder(Protocol):
    """Finds a rule's triggers again."""

    async def find(self, block_number: int, log_index: int | None, patience_s: float) -> tuple[Trigger, str] | None:
        """Return the trigger in this block of the canonical chain and its task's key; None where there is none."""
        ...


@dataclass(frozen=True, kw_only=True)
class TaskContext(Generic[SettingsT]):
    """What a handler is given; nothing in it can sign."""

    trigger: Trigger
    key: str  # the task's, the same in every attempt
    attempt: int  # counts from 1
    settings: SettingsT
    performer: str | None  # checksummed
    http: "aiohttp.ClientSession"
    log: "FilteringBoundLogger"
    reader: ChainReader
    proofs: Proofs
    ends_at: float = field(default=float("inf"))  # on time.monotonic()

    @property
    def deadline(self) -> float:
        """Seconds left for this execution."""
        return self.ends_at - time.monotonic()

    @property
    def w3(self) -> "AsyncWeb3[Any]":
        """Contract calls on the trigger's chain, read at the trigger's block by its hash."""
        return self.reader.at(bytes(self.trigger.block_hash))

    def at(self, block: int | bytes | str) -> "AsyncWeb3[Any]":
        """Contract calls on the trigger's chain, read at another block: its number or its hash."""
        return self.reader.at(block)


@dataclass(frozen=True, kw_only=True)
class ClaimContext(TaskContext[SettingsT]):
    """
    What ``validate`` is given.

    ``trigger`` is a Scope, and no block is known but by the proof: ``w3`` reads the latest one.
    """

    claim: Claim
    finder: Finder
    elect: Callable[[TaskContext[SettingsT]], Awaitable[str]] | None = None  # None: the rule has no election
    patience_s: float = 0.0  # for a chain that is a block behind the performer's, or cannot be read just now

    @property
    def w3(self) -> "AsyncWeb3[Any]":
        """Contract calls on the rule's chain, read at its latest block."""
        return self.reader.at("latest")

    async def retrace(self, block_number: int, log_index: int | None = None) -> TaskContext[SettingsT] | None:
        """
        Give the context that ``execute`` had, so that it can be called again and its result compared.

        Args:
            block_number: on the canonical chain as it is now.
            log_index: of the event in its block; an event rule needs it.

        Returns:
            None where the rule finds no such trigger in that block.

        Raises:
            NotPossible: no block makes the rule's tasks: it is a schedule, or answers requests.
            TransientError: the chain could not be read, or has not come so far; let through, it means *unsure*.
        """
        found = await self.finder.find(block_number, log_index, self.patience_s)
        if found is None:
            return None
        return TaskContext(
            trigger=found[0],
            key=found[1],
            attempt=1,
            settings=self.settings,
            performer=self.claim.performer,
            http=self.http,
            log=self.log,
            reader=self.reader,
            proofs=self.proofs,
            ends_at=self.ends_at,
        )

    async def elected(self, again: TaskContext[SettingsT]) -> str | None:
        """
        Name the operator whose turn a retraced trigger was, to be compared with ``claim.performer``.

        Returns:
            A checksummed address, nobody's (zeros) where there was no operator; None where the rule has no election.

        Raises:
            ListenerError: it could not be read; let through, it means *unsure*.
        """
        return None if self.elect is None else await self.elect(again)
