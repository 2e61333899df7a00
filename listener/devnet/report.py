"""
What the demo shows: lines for people, or with ``--json`` one object a line for programs.

stdout carries the tasks and the summary; where they live and which process runs goes to stderr.
"""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from listener.devnet.count import Expected

SHOWN = 10  # missed triggers by name; the rest as a number


@dataclass(frozen=True, slots=True)
class Summary:
    """The count at the end of a demo."""

    blocks: int
    triggers: int
    sent: int  # sendTask calls that reached the aggregator, repeats included
    accepted: int
    approved: int | None  # None without attesters
    missed: int
    doubled: int
    failed: int  # rows failed or already known, and tasks that the attesters rejected
    restarts: int
    stray: int  # accepted calls for a block that is not on the canonical chain

    @property
    def is_clean(self) -> bool:
        """Nothing was missed, doubled or failed."""
        return self.missed == self.doubled == self.failed == 0


class Report:
    """One demo's output."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._out = Console(highlight=False, soft_wrap=True)
        self._progress = Console(stderr=True, highlight=False, soft_wrap=True)

    def folder(self, folder: Path) -> None:
        """Say where config, journal and log are."""
        files = "config.toml, listener.db, listener.log, attester-N.log"
        self._progress.print(f"folder {folder} ({files})", markup=False)

    def started(self, pid: int, restarts: int) -> None:
        """Say which process the daemon is; the reader may kill it."""
        again = f", started again ({restarts})" if restarts else ""
        self._progress.print(f"daemon pid {pid}{again}", markup=False)

    def settling(self, timeout_s: float) -> None:
        """Say that no more blocks come."""
        self._progress.print(f"traffic stopped; open tasks have {timeout_s:.0f} s", markup=False)

    def unread(self, reason: str) -> None:
        """Say why the live lines pause; the count does not need them."""
        self._progress.print(reason, markup=False)

    def task(self, row: dict[str, Any]) -> None:
        """Show a task that has come to an end, or was left open."""
        if self._as_json:
            self._line({"kind": "task", **row})
            return
        colour = "green" if row["state"] == "accepted" else "yellow"
        self._out.print(
            f"block {row['block_number']:>5}  {row['rule']:<15} task {row['id']:>5}  {_short(row['proof_of_task']):<34}"
            f"  [{colour}]{row['state']}[/{colour}]"
        )

    def summary(self, summary: Summary, missed: tuple[Expected, ...]) -> None:
        """Show the count, and on stderr what was missed."""
        for trigger in missed[:SHOWN]:
            self._progress.print(f"missed: block {trigger.block_number} {trigger.rule} {trigger.proof}", markup=False)
        if len(missed) > SHOWN:
            self._progress.print(f"missed: and {len(missed) - SHOWN} more", markup=False)
        if self._as_json:
            self._line({"kind": "summary", **asdict(summary)})
            return
        counts = asdict(summary).items()
        self._out.print(", ".join(f"{name} {'-' if value is None else value}" for name, value in counts))

    @staticmethod
    def _line(value: dict[str, Any]) -> None:
        sys.stdout.write(f"{orjson.dumps(value).decode()}\n")
        sys.stdout.flush()


def _short(proof: str | None) -> str:
    """Shorten the hashes in a proof: the whole is in ``tasks list``."""
    fields = (proof or "-").split("+")
    return "+".join(f"{field[:8]}…{field[-4:]}" if len(field) > 40 else field for field in fields)
