"""
What tests need: a task's context to call it with, and a scripted node to follow.

Imported by tests alone, ours and those of whoever writes a task.
"""

from listener.testing.chain import Emitted, ScriptedBlock, ScriptedChain
from listener.testing.context import context, event
from listener.testing.faults import (
    DIALECTS,
    HttpAnswer,
    NodeError,
    RateLimit,
    logs_changed,
    logs_up_to,
    once,
    ranges_up_to,
    refuses_ranges,
)
from listener.testing.node import FakeNode

__all__ = [
    "DIALECTS",
    "Emitted",
    "FakeNode",
    "HttpAnswer",
    "NodeError",
    "RateLimit",
    "ScriptedBlock",
    "ScriptedChain",
    "context",
    "event",
    "logs_changed",
    "logs_up_to",
    "once",
    "ranges_up_to",
    "refuses_ranges",
]
