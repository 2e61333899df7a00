"""What an attester is told."""

from dataclasses import dataclass

from listener.logs import redacted
from listener.model import Verdict


@dataclass(frozen=True, slots=True)
class Answer:
    """
    One answer, before it is written as HTTP.

    ``data`` is the vote. It is never true, and never an object, in an answer that is none: a node that looks only
    whether it is true would take that for a yes.
    """

    status: int
    data: bool
    message: str | None

    @property
    def error(self) -> bool:
        """Whether this is no vote."""
        return self.status != 200

    @classmethod
    def of(cls, verdict: Verdict) -> "Answer":
        """Say a verdict: a vote is 200, and who cannot judge is no vote but 503."""
        reason = redacted(verdict.reason) or None
        if verdict.approved is None:
            return cls(503, data=False, message=reason or "the task cannot judge it")
        return cls(200, data=verdict.approved, message=reason)
