"""Tests are files, not packages: what those of this folder share with the integration tests is found on the path."""

import sys
from pathlib import Path

import pytest

from listener import submitter
from listener.chains import health, websocket
from listener.follower import audit, finality, follower, ranges, walker
from listener.runner import runner

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten every pause and every step: a history of weeks passes in a blink."""
    monkeypatch.setattr(follower, "OPEN_S", 0.2)
    monkeypatch.setattr(follower, "POLL_S", 0.02)
    monkeypatch.setattr(follower, "AFTER_FAULT_S", 0.01)
    monkeypatch.setattr(follower, "LONGEST_REST_S", 0.03)
    monkeypatch.setattr(follower, "HALTED_S", 0.02)
    monkeypatch.setattr(finality, "EVERY_S", 0.0)
    monkeypatch.setattr(walker, "BATCH", 3)  # so that histories of a few blocks take several steps, and ranges
    monkeypatch.setattr(walker, "RANGE_FROM", 4)
    monkeypatch.setattr(walker, "LARGEST_STEP", 3)
    monkeypatch.setattr(ranges, "FIRST_WIDTH", 2)
    monkeypatch.setattr(audit, "LOOK_S", 0.01)
    monkeypatch.setattr(audit, "AT_LEAST", 1)
    monkeypatch.setattr(audit, "REST_S", 0.02)
    monkeypatch.setattr(health, "FIRST_REST_S", 0.01)
    monkeypatch.setattr(health, "LONGEST_REST_S", 0.03)
    monkeypatch.setattr(websocket, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(websocket, "LONGEST_PAUSE_S", 0.03)
    monkeypatch.setattr(runner, "LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr(runner, "POLL_S", 0.05)
    monkeypatch.setattr(submitter, "LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr(submitter, "POLL_S", 0.05)
