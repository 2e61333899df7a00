"""How a run is shown: a table for people, plain values for everything else."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chaos.matrix import Report
from listener.testing.crash import POINTS

PAGE = Path(__file__).parents[1] / "docs" / "guarantees.md"
ROWS = {
    "blocks_walked": "blocks walked",
    "reorgs": "reorgs",
    "returned": "of them back to the very same blocks",
    "disconnects": "lines cut or reset",
    "kills": "kills",
    "kills_at_steps": "of them at a named step",
    "triggers": "triggers on the chain in the end",
    "sends": "sends",
    "accepted": "tasks accepted",
    "stray": "of them for blocks that left the chain",
    "missed": "missed",
    "doubled": "doubled",
    "differing": "proofs sent with two payloads",
    "already_known": "already_known",
    "failed": "failed or left open",
    "seconds": "seconds",
}


def table(reports: Sequence[Report]) -> str:
    """Write a column for each run, in Markdown."""
    columns = [[f"{report.journal}, seed {report.seed}" for report in reports], ["--:"] * len(reports)]
    lines = [_line("", columns[0]), _line("---", columns[1])]
    lines += [_line(name, [str(getattr(report, field)) for report in reports]) for field, name in ROWS.items()]
    lines.append(_line("steps reached", [f"{len(report.steps_reached)} of {len(POINTS)}" for report in reports]))
    return "\n".join(lines) + "\n"


def as_values(reports: Sequence[Report]) -> list[Mapping[str, Any]]:
    """Return each run as plain values."""
    return [asdict(report) | {"good": report.good} for report in reports]


def write_into(page: Path, name: str, what: str) -> None:
    """Put a text between the two marks of a page that have this name, in the place of what stands there."""
    mark = f"<!-- {name} -->\n"
    before, _, after = page.read_text().split(mark)
    page.write_text(f"{before}{mark}\n{what}\n{mark}{after}")


def _line(name: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join((name, *cells))} |"
