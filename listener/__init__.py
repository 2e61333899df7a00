"""The names that a task module may import; everything else is inside and may move."""

from typing import TYPE_CHECKING, Any

from listener.errors import FetchFailed, NotPossible, ProofError, ProofNotFound, ProofRejected, ProofUnavailable
from listener.model import Claim, ClaimContext, Event, TaskContext, TaskResult, Trigger, Verdict
from listener.strangers import Fetched, fetch

if TYPE_CHECKING:
    from web3 import AsyncWeb3

__all__ = [
    "Claim",
    "ClaimContext",
    "Event",
    "FetchFailed",
    "Fetched",
    "NotPossible",
    "ProofError",
    "ProofNotFound",
    "ProofRejected",
    "ProofUnavailable",
    "TaskContext",
    "TaskResult",
    "Trigger",
    "Verdict",
    "active_operators",
    "fetch",
]


async def active_operators(w3: "AsyncWeb3[Any]", attestation_center: str, block_hash: bytes) -> tuple[str, ...]:
    """
    Return the attestation contract's active operators at a block by ascending id, whichever generation it is.

    Raises:
        ElectionFailed: they could not be read; let through, the task is tried again, and a claim is *unsure*.
    """
    from listener.election.active import active_operators as read  # noqa: PLC0415 - few need it

    return await read(w3, attestation_center, block_hash)
