"""The names that a task module may import; everything else is inside and may move."""

from listener.errors import FetchFailed, ProofError, ProofNotFound, ProofRejected, ProofUnavailable
from listener.model import Claim, ClaimContext, Event, TaskContext, TaskResult, Trigger, Verdict
from listener.strangers import Fetched, fetch

__all__ = [
    "Claim",
    "ClaimContext",
    "Event",
    "FetchFailed",
    "Fetched",
    "ProofError",
    "ProofNotFound",
    "ProofRejected",
    "ProofUnavailable",
    "TaskContext",
    "TaskResult",
    "Trigger",
    "Verdict",
    "fetch",
]
