"""The names that a task module may import; everything else is inside and may move."""

from listener.errors import NotPossible, ProofError, ProofNotFound, ProofRejected, ProofUnavailable
from listener.model import Claim, ClaimContext, Event, TaskContext, TaskResult, Trigger, Verdict

__all__ = [
    "Claim",
    "ClaimContext",
    "Event",
    "NotPossible",
    "ProofError",
    "ProofNotFound",
    "ProofRejected",
    "ProofUnavailable",
    "TaskContext",
    "TaskResult",
    "Trigger",
    "Verdict",
]
