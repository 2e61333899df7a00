"""Runs handlers for pending tasks and stores their signed results."""

from listener.runner.execution import Work
from listener.runner.runner import Runner

__all__ = ["Runner", "Work"]
