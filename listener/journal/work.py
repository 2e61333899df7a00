"""What the stages hand to the journal and get from it: plain values, no SQL."""

from collections.abc import Sequence
from dataclasses import dataclass

from listener.model import Block, Cursor, Log, Occasion, Payload


def as_text(said: str) -> str:
    """Make a reason storable: what others said may hold lone surrogates, or NUL, which PostgreSQL's texts cannot."""
    return said.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """How far a chain is known: its newest block seen, and up to where it is ``safe`` and ``final``."""

    head: int
    safe: int
    final: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """
    One piece of a chain's walk: written whole or not at all.

    ``after`` is the cursor the follower stands on; ``ancestor`` the block to rewind to first when the chain was
    reorganised, else None. ``blocks`` are the walked headers worth remembering; ``cursor`` is where the walk stands
    then, ``frontier`` how much of the chain is settled. ``untold`` are first and last of the blocks that no line told
    of, on the step that begins to fill that gap.
    """

    chain: str
    after: Cursor
    cursor: Cursor
    frontier: "Frontier"
    ancestor: Cursor | None = None
    blocks: Sequence[Block] = ()
    occasions: Sequence[Occasion] = ()
    untold: tuple[int, int] | None = None
    newest: int = 0  # the newest head's timestamp, in Unix seconds; with 0 nothing is late


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a step changed, for the log and for the stages that wait."""

    appended: int
    cancelled: int = 0
    orphaned: int = 0
    revived: int = 0
    paired: int = 0
    expired: int = 0  # journaled, but not to be executed; with those of earlier steps …
    given_way: Sequence[int] = ()  # … that gave way to newer ones, by their ids
    released: int = 0  # late ones that were held back until now


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """
    What the runner can take of one rule: at most ``slots`` tasks up to block ``released``.

    ``received`` is how many tasks of the rule have reached the runner so far; those that are on their way to it count
    against ``slots``. ``cursor`` is the block number from which ``released`` was reckoned: another process may have
    taken the cursor back since.
    """

    rule: str
    slots: int
    released: int | None  # None: not held for confirmations
    oldest: int | None = None  # Unix seconds; a trigger before this has expired
    received: int | None = None  # None: nothing is on its way
    cursor: int | None = None

    @property
    def stands(self) -> bool:
        """Whether what is left of it may be served later: not where time or confirmations must be looked at again."""
        return self.received is not None and self.released is None and self.oldest is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A task in the runner's hands; ``claim`` must still be the row's when its result is written."""

    id: int
    claim: int
    key: str
    rule: str
    trigger: str
    chain: str
    block_number: int
    block_hash: bytes
    block_timestamp: int
    epoch: int | None
    log: Log | None
    due: int | None = None  # Unix seconds: what was planned, or asked for; None where a block was the cause
    body: str | None = None  # JSON
    task_definition_id: int  # as journaled: it is sent with the payload, whatever the rule says by now
    attempt: int


@dataclass(frozen=True, slots=True)
class Signed:
    """A claimed task's payload, to be made durable before its first send."""

    task: Claimed
    payload: Payload


@dataclass(frozen=True, slots=True)
class Ended:
    """
    A claimed task's end without a payload, or its way back to ``pending``.

    ``not_before`` (microseconds since the epoch) and ``uncounted``, of the attempt, are only for ``pending``.
    """

    task: Claimed
    state: str
    reason: str
    not_before: int = 0
    uncounted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A ready task in the submitter's hands; its send may have begun as soon as this exists."""

    id: int
    rule: str
    chain: str
    block_number: int
    created_at: int
    sent_at: int | None  # of the first send
    retried_at: int | None  # when an operator had it sent again
    sends: int
    payload: Payload
    fresh: bool  # finished by this process and not handed out before


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One send and what became of it."""

    id: int
    state: str  # accepted | ready | failed
    sent_at: int
    ended_at: int
    already_known: bool = False
    not_before: int = 0
    error: str | None = None
