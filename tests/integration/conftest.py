"""Tests are files, not packages: what those of this folder share is found because the folder is on the path."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from listener.follower import follower
from listener.testing import FakeNode, ScriptedChain

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses that make a daemon bearable for others: the tests wait for what comes after them."""
    monkeypatch.setattr(follower, "POLL_S", 0.1)
    monkeypatch.setattr(follower, "AFTER_FAULT_S", 0.05)
    monkeypatch.setattr(follower, "HALTED_S", 0.1)


@pytest.fixture(params=["sqlite", "postgresql"])
def either_journal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a file's tests run on both databases."""
    if request.param == "postgresql":
        monkeypatch.setattr("following.JOURNAL", request.getfixturevalue("database").get_secret_value())


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    """A fake node whose chain has ten blocks, of which the first is final."""
    chain = ScriptedChain(height=10)
    chain.final = 0
    async with FakeNode(chain) as fake:
        yield fake
