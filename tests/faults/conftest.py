"""Tests are files, not packages: what those of this folder share with the integration tests is found on the path."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from listener.chains import health, websocket
from listener.follower import follower
from listener.testing import FakeNode, ScriptedChain

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))


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


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    """A fake node whose chain has ten blocks, of which the first is final."""
    chain = ScriptedChain(height=10)
    chain.final = 0
    async with FakeNode(chain) as fake:
        yield fake
