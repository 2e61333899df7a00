"""``python -m bench``: run both clients in turn, some rounds, and print what they took with the targets beside it."""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import orjson

from bench.client import BASELINE, DAEMON
from bench.report import Run, as_json, table
from bench.scenarios import DAEMON_ALONE, SCENARIOS
from listener.errors import ListenerError

BUILD = Path(__file__).parents[1] / "build"  # on the project's disk: a journal in memory would have nothing to sync


async def run(scenarios: Sequence[str], rounds: int, clients: Sequence[str]) -> list[Run]:
    """Run each scenario with each client, round by round, so that both meet the same moods of the machine."""
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=BUILD) as folder:
        return [
            await _run(Path(folder), scenario, number, client)
            for number in range(1, rounds + 1)
            for scenario in scenarios
            for client in (clients if number % 2 else reversed(clients))
            if client == DAEMON or scenario not in DAEMON_ALONE
        ]


async def _run(folder: Path, scenario: str, number: int, client: str) -> Run:
    begun = time.monotonic()
    result = await SCENARIOS[scenario](client, folder / f"{scenario}-{number}-{client}")
    found = ", ".join(f"{name} {value:.2f}" for name, value in (result.figures or result.faults).items())
    took_s = time.monotonic() - begun
    sys.stderr.write(f"round {number}: {scenario}, {client}: {found} ({took_s:.0f} s)\n")
    return Run(scenario, number, client, result)


def main() -> int:
    """
    Measure and print.

    Returns:
        0; 1 where a client missed, doubled or spoilt a task and so has no result, or where nothing could be measured.
    """
    parser = argparse.ArgumentParser(prog="python -m bench", description="The daemon against a plain web3.py script.")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="a scenario; may be given several times")
    parser.add_argument("--client", action="append", choices=[BASELINE, DAEMON], help="default: both, in turn")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run and the summary there too")
    options = parser.parse_args()
    if sys.platform != "linux":
        parser.error(f"memory and processor time come from /proc, which {sys.platform} has not; run it on Linux")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: children and folders do not stay behind
    scenarios = options.only or list(SCENARIOS)
    try:
        runs = asyncio.run(run(scenarios, options.rounds, options.client or [BASELINE, DAEMON]))
    except KeyboardInterrupt:
        return 130
    except ListenerError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    sys.stdout.write(table(runs))
    if options.json is not None:
        options.json.write_bytes(orjson.dumps(as_json(runs), option=orjson.OPT_INDENT_2))
    return 1 if any(each.result.faults for each in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
