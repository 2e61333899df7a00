"""Tests are files, not packages: what these share with the integration tests is found on the path, as is ``chaos/``."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from listener import submitter
from listener.chains import health, websocket
from listener.follower import follower
from listener.runner import runner
from listener.testing import FakeAggregator, FakeNode, ScriptedChain

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(TESTS / "integration"), str(TESTS.parent)]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses that make a daemon bearable for others: the tests wait for what comes after them."""
    monkeypatch.setattr(follower, "POLL_S", 0.1)
    monkeypatch.setattr(follower, "AFTER_FAULT_S", 0.05)
    monkeypatch.setattr(follower, "LONGEST_REST_S", 0.5)
    monkeypatch.setattr(follower, "HALTED_S", 0.1)
    monkeypatch.setattr(health, "FIRST_REST_S", 0.1)
    monkeypatch.setattr(health, "LONGEST_REST_S", 0.3)
    monkeypatch.setattr(websocket, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(websocket, "LONGEST_PAUSE_S", 0.2)
    monkeypatch.setattr(submitter, "LONGEST_PAUSE_S", 0.05)
    monkeypatch.setattr(runner, "LONGEST_PAUSE_S", 0.05)


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    """A fake node whose chain has ten blocks, of which the first is final."""
    chain = ScriptedChain(height=10)
    chain.final = 0
    async with FakeNode(chain) as fake:
        yield fake


@pytest.fixture
async def fake() -> AsyncIterator[FakeAggregator]:
    async with FakeAggregator() as server:
        yield server


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines
