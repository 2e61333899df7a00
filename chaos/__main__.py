"""``python -m chaos``: kill the daemon at every step of its work, count what came of it, and print a table."""

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
from pathlib import Path

import orjson

from chaos import matrix
from chaos.matrix import Report
from chaos.plan import plan
from chaos.postgresql import server
from chaos.report import PAGE, as_values, table, write_into
from chaos.site import SQLITE
from listener.errors import ListenerError
from listener.testing.crash import POINTS

BUILD = Path(__file__).parents[1] / "build"  # on the project's disk: a journal in memory has nothing to lose
JOURNALS = ("sqlite", "postgresql")


def main() -> int:
    """
    Run and print.

    Returns:
        0 where nothing was missed, doubled or spoilt, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m chaos", description="Kill the daemon at every step of its work.")
    parser.add_argument("--kills", type=int, default=200, help="on each journal; default: 200")
    parser.add_argument("--seed", type=int, default=1, help="of every choice; default: 1")
    parser.add_argument("--journal", action="append", choices=JOURNALS, help="may be given twice; default: both")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--write", action="store_true", help="put the table into docs/guarantees.md")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: children and folders do not stay behind
    try:
        reports = [_run(journal, options.kills, options.seed) for journal in options.journal or JOURNALS]
    except KeyboardInterrupt:
        return 130
    except ListenerError as error:
        sys.stderr.write(f"chaos: {error}\n")
        return 1
    sys.stdout.write(table(reports))
    if options.json is not None:
        options.json.write_bytes(orjson.dumps(as_values(reports), option=orjson.OPT_INDENT_2))
    if options.write:
        write_into(PAGE, "chaos", table(reports))
    return 0 if all(report.good for report in reports) else 1


def _run(journal: str, kills: int, seed: int) -> Report:
    BUILD.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir=BUILD))
    sys.stderr.write(f"chaos: {kills} kills on {journal}, in {folder}\n")
    with server() if journal == "postgresql" else contextlib.nullcontext(SQLITE) as url:
        whole = kills >= len(POINTS)
        report = asyncio.run(matrix.run(folder, plan(kills, seed), seed=seed, journal=url, every_step=whole))
    for fault in report.faults:
        sys.stderr.write(f"chaos: {fault}\n")
    sys.stderr.write(f"chaos: {'well' if report.good else 'NOT well'} after {report.seconds} s\n")
    return report


if __name__ == "__main__":
    sys.exit(main())
