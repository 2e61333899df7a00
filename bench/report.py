"""The medians of all rounds, their ratios and what they should be: as a table in Markdown, and as JSON."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.client import BASELINE, DAEMON
from bench.scenarios import BURST_INTENTS, SLOW_ANSWER_S, Result

IN_FLIGHT = 32  # both clients' requests in flight
LABELS = {
    "p50_ms": "latency p50, ms",
    "p99_ms": "latency p99, ms",
    "tasks_per_s": "tasks/s",
    "requests_per_s": "requests/s",
    "processor_us": "processor, µs a request",
    "whole_s": "from process start, s",
    "rss_mb": "RSS at the end, MB",
    "peak_mb": "RSS at most, MB",
    "processor_percent": "processor, % of a core",
}
HEADINGS = ("scenario", "figure", BASELINE, DAEMON, f"{DAEMON} / {BASELINE}", "target", "met")


@dataclass(frozen=True)
class Target:
    """What a figure of the daemon, or its ratio to the baseline's, should be."""

    limit: float
    at_least: bool
    is_ratio: bool

    def is_met(self, figure: float, ratio: float) -> bool:
        """Tell whether the daemon reached it."""
        value = ratio if self.is_ratio else figure
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{' x' if self.is_ratio else ''}"


TARGETS = {
    ("single", "p50_ms"): Target(1.0, at_least=False, is_ratio=True),
    ("burst", "tasks_per_s"): Target(3.0, at_least=True, is_ratio=True),
    ("burst", "rss_mb"): Target(1.4, at_least=False, is_ratio=True),
    # The ceiling is what 32 requests of 50 ms each allow.
    ("burst-50ms", "tasks_per_s"): Target(0.9 * IN_FLIGHT / SLOW_ANSWER_S, at_least=True, is_ratio=False),
    ("catch-up", "tasks_per_s"): Target(2.3, at_least=True, is_ratio=True),
    ("catch-up", "rss_mb"): Target(1.4, at_least=False, is_ratio=True),
    ("idle", "processor_percent"): Target(0.5, at_least=False, is_ratio=False),
    ("validate", "requests_per_s"): Target(1500, at_least=True, is_ratio=False),
    ("validate", "p99_ms"): Target(50, at_least=False, is_ratio=False),
}


@dataclass(frozen=True)
class Run:
    """One client in one scenario in one round."""

    scenario: str
    round: int
    client: str
    result: Result


@dataclass(frozen=True)
class Row:
    """One figure of one scenario: medians over the rounds; None where a run with faults leaves no result."""

    scenario: str
    figure: str
    baseline: float | None
    daemon: float | None
    target: Target | None

    @property
    def ratio(self) -> float | None:
        """The daemon's figure in the baseline's."""
        return self.daemon / self.baseline if self.daemon is not None and self.baseline else None

    @property
    def is_met(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        if self.target is None:
            return None
        if self.daemon is None or (self.ratio is None and self.target.is_ratio):
            return False
        return self.target.is_met(self.daemon, self.ratio or 0)


def rows(runs: Sequence[Run]) -> list[Row]:
    """Return the figures in the order in which they were first measured."""
    keys = dict.fromkeys((run.scenario, figure) for run in runs for figure in run.result.figures)
    return [
        Row(
            scenario, figure, _median(runs, scenario, figure, BASELINE), _median(runs, scenario, figure, DAEMON), target
        )
        for scenario, figure in keys
        for target in [TARGETS.get((scenario, figure))]
    ]


def table(runs: Sequence[Run]) -> str:
    """Return the table, and under it each run that had faults."""
    lines = [_line(HEADINGS), _line("---" for _ in HEADINGS)]
    lines += [_line(_cells(row)) for row in rows(runs)]
    for run in runs:
        if run.result.faults:
            what = ", ".join(f"{count} {name}" for name, count in run.result.faults.items())
            lines += ["", f"No result for the {run.client} in {run.scenario}, round {run.round}: {what}."]
    return "\n".join(lines) + "\n"


def as_json(runs: Sequence[Run]) -> dict[str, Any]:
    """Return every run, and the rows of the table."""
    summary = [
        asdict(row) | {"ratio": row.ratio, "target": None if row.target is None else str(row.target), "met": row.is_met}
        for row in rows(runs)
    ]
    return {"burst_intents": BURST_INTENTS, "runs": [asdict(run) for run in runs], "summary": summary}


def _median(runs: Sequence[Run], scenario: str, figure: str, client: str) -> float | None:
    results = [run.result for run in runs if (run.scenario, run.client) == (scenario, client)]
    if not results or any(result.faults for result in results):
        return None
    return statistics.median(result.figures[figure] for result in results)


def _cells(row: Row) -> list[str]:
    return [
        row.scenario,
        LABELS[row.figure],
        _number(row.baseline) or "no result",
        _number(row.daemon) or "no result",
        _number(row.ratio),
        "" if row.target is None else str(row.target),
        {None: "", True: "yes", False: "no"}[row.is_met],
    ]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"
