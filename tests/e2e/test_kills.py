"""
The daemon as a process, killed with SIGKILL at the steps of its work, while blocks, reorgs and outages go on around it.

A few of the steps that ``make chaos`` has all of: those between which something could be lost or done twice.
"""

from pathlib import Path

import pytest

from chaos import matrix
from chaos.plan import Kill

STEPS = (
    "begin.committed",
    "step.before_commit",
    "step.committed",
    "handler.started",
    "recover.committed",
    "result.signed",
    "sign.committed",
    "send.begun",
    "sent.before_commit",
)


async def test_a_daemon_that_is_killed_at_each_of_these_steps_misses_nothing_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "AT_A_STEP_S", 60.0)  # each is reached, however slow the machine
    monkeypatch.setattr(matrix, "PAUSE_S", (0.1, 0.6))
    report = await matrix.run(tmp_path, [Kill(point) for point in STEPS], seed=7)
    assert report.good, report.faults
    assert set(report.steps_reached) == set(STEPS)
    assert report.triggers > 0
    assert report.accepted - report.stray == report.triggers
