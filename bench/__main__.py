"""``python -m bench``: run both clients in turn and print what they took, with the targets beside it."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from bench.client import BASELINE, DAEMON
from bench.scenarios import SCENARIOS, Result

PROJECT = Path(__file__).parents[1]


async def run(scenarios, rounds, clients):
    build = PROJECT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=build) as folder:
        for number in range(rounds):
            for name in scenarios:
                for client in clients:
                    r = await SCENARIOS[name](client, Path(folder) / f"{name}-{number}-{client}")
                    print(number, name, client, {k: round(v, 2) for k, v in r.figures.items()}, r.faults, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", choices=SCENARIOS)
    parser.add_argument("--client", action="append", choices=[BASELINE, DAEMON])
    options = parser.parse_args()
    asyncio.run(run(options.only or list(SCENARIOS), options.rounds, options.client or [BASELINE, DAEMON]))


if __name__ == "__main__":
    main()
