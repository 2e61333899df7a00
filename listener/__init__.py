"""The names that a task module may import; everything else is inside and may move."""

from listener.model import Claim, Event, TaskContext, TaskResult, Trigger, Verdict

__all__ = ["Claim", "Event", "TaskContext", "TaskResult", "Trigger", "Verdict"]
