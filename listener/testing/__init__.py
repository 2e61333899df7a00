"""
What tests need: a task's context to call it with, a scripted node to follow, a scripted aggregator to send to, and a
line between any two that breaks on command.

Imported by tests alone, ours and those of whoever writes a task.
"""

from listener.testing.aggregator import FakeAggregator, Fault
from listener.testing.chain import Emitted, ScriptedBlock, ScriptedChain
from listener.testing.context import claim_context, context, event, memory_proofs
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
from listener.testing.ipfs import FakeIpfs
from listener.testing.node import FakeNode
from listener.testing.proxy import Proxy

__all__ = [
    "DIALECTS",
    "Emitted",
    "FakeAggregator",
    "FakeIpfs",
    "FakeNode",
    "Fault",
    "HttpAnswer",
    "NodeError",
    "Proxy",
    "RateLimit",
    "ScriptedBlock",
    "ScriptedChain",
    "claim_context",
    "context",
    "event",
    "logs_changed",
    "logs_up_to",
    "memory_proofs",
    "once",
    "ranges_up_to",
    "refuses_ranges",
]
