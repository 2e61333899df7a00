"""
What tests need: a task's context to call it with, and a scripted node to follow.

Imported by tests alone, ours and those of whoever writes a task.
"""

from listener.testing.chain import Emitted, ScriptedBlock, ScriptedChain
from listener.testing.context import context, event
from listener.testing.faults import NodeError, logs_changed, ranges_up_to
from listener.testing.node import FakeNode

__all__ = [
    "Emitted",
    "FakeNode",
    "NodeError",
    "ScriptedBlock",
    "ScriptedChain",
    "context",
    "event",
    "logs_changed",
    "ranges_up_to",
]
