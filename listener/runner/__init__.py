"""Runs handlers for pending tasks, stores their signed results, and judges claims by the same modules."""

from listener.runner.execution import Work
from listener.runner.judge import Judge
from listener.runner.runner import Runner

__all__ = ["Judge", "Runner", "Work"]
