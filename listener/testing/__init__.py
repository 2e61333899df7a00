"""
What tests need: a task's context to call it with, a scripted node to follow, a scripted aggregator to send to, and a
line between any two that breaks on command.

Imported by tests alone, ours and those of whoever writes a task.
"""

from listener.testing.aggregator import FakeAggregator, Fault
from listener.testing.chain import Emitted, ScriptedBlock, ScriptedChain
from listener.testing.context import context, event
from listener.testing.faults import NodeError, logs_changed, ranges_up_to
from listener.testing.node import FakeNode
from listener.testing.proxy import Proxy

__all__ = [
    "Emitted",
    "FakeAggregator",
    "FakeNode",
    "Fault",
    "NodeError",
    "Proxy",
    "ScriptedBlock",
    "ScriptedChain",
    "context",
    "event",
    "logs_changed",
    "ranges_up_to",
]
