"""Tests are files, not packages: these share what the integration tests share."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from listener.follower import audit, finality, follower
from listener.testing import FakeNode, ScriptedChain

sys.path.insert(0, str(Path(__file__).parent.parent / "integration"))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses that make a daemon bearable for others: the tests wait for what comes after them."""
    monkeypatch.setattr(follower, "POLL_S", 0.1)
    monkeypatch.setattr(follower, "AFTER_FAULT_S", 0.05)
    monkeypatch.setattr(finality, "EVERY_S", 0.0)
    monkeypatch.setattr(audit, "LOOK_S", 0.02)
    monkeypatch.setattr(audit, "LONGEST_WAIT_S", 0.0)
    monkeypatch.setattr(audit, "REST_S", 0.05)


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    """A fake node whose chain has ten blocks, of which the first is final."""
    chain = ScriptedChain(height=10)
    chain.final = 0
    async with FakeNode(chain) as fake:
        yield fake
