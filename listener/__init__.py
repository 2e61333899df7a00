"""The names that a task module may import; everything else is inside and may move."""

from listener.model import Claim, ClaimContext, Event, TaskContext, TaskResult, Trigger, Verdict

__all__ = ["Claim", "ClaimContext", "Event", "TaskContext", "TaskResult", "Trigger", "Verdict"]
