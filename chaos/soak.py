"""
``python -m chaos.soak``: an hour of a chain in minutes, ten rules, and a look at what the daemon keeps in its hands.

Memory and open files are sampled from outside while blocks, intents and a reorg now and then go on; the first third is
compared with the last, once the daemon is warm. In the end comes one block with ten thousand events, and then nothing.
"""

import argparse
import asyncio
import contextlib
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from chaos.daemon import Daemon
from chaos.report import PAGE, write_into
from chaos.site import RULE, Site, open_site
from chaos.traffic import Traffic
from listener.devnet.count import Count, Expected, count, expected
from listener.errors import ListenerError

BUILD = Path(__file__).parents[1] / "build"
BLOCKS = 1800  # an hour of blocks every two seconds
PAUSE_S = 0.03  # between two of them here
REORG_EVERY = 97  # blocks
CROWD, OF_ONE = 10_000, 500  # events in the last block, and in each of its transactions
MORE_RULES = {f"every-{every}": every for every in (2, 3, 7, 11, 13, 17, 19)}  # with the site's three, ten
WARM = 10  # such a part of the blocks comes before, unsampled
SAMPLE_S = 0.5
IDLE_S = 20.0
SETTLE_S = 600.0
# What may differ between two thirds of a run and still be called flat.
RSS_SLACK, RSS_SLACK_MB, FILES_SLACK = 1.05, 3.0, 2


@dataclass(frozen=True, slots=True)
class Sample:
    """The daemon at one moment."""

    rss_mb: float
    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a soak saw."""

    blocks: int
    chain_minutes: float
    seconds: int
    rules: int
    triggers: int
    missed: int
    doubled: int
    rss_first_mb: float  # medians of the first and the last third
    rss_last_mb: float
    files_first: float
    files_last: float
    crowd: int
    crowd_seconds: int
    crowd_peak_mb: float
    rss_after_crowd_mb: float
    idle_cpu_percent: float

    @property
    def flat(self) -> bool:
        """Whether memory and files stayed where they were."""
        memory = self.rss_last_mb <= self.rss_first_mb * RSS_SLACK + RSS_SLACK_MB
        return memory and self.files_last <= self.files_first + FILES_SLACK

    @property
    def good(self) -> bool:
        """Whether all is well."""
        return self.flat and not self.missed and not self.doubled


def main() -> int:
    """Run and print; 0 where nothing grew, and nothing was missed or doubled."""
    parser = argparse.ArgumentParser(prog="python -m chaos.soak", description="An hour of a chain, compressed.")
    parser.add_argument("--blocks", type=int, default=BLOCKS, help=f"default: {BLOCKS}, of two seconds each")
    parser.add_argument("--seed", type=int, default=1, help="of every choice; default: 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--write", action="store_true", help="put the table into docs/guarantees.md")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    BUILD.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir=BUILD))
    try:
        report = asyncio.run(run(folder, blocks=options.blocks, seed=options.seed))
    except KeyboardInterrupt:
        return 130
    except ListenerError as error:
        sys.stderr.write(f"soak: {error}\n")
        return 1
    sys.stdout.write(_table(report))
    if options.write:
        write_into(PAGE, "soak", _table(report))
    if options.json is not None:
        options.json.write_bytes(orjson.dumps(asdict(report), option=orjson.OPT_INDENT_2))
    return 0 if report.good else 1


def _table(report: Report) -> str:
    lines = ["| | |", "| --- | --: |"]
    lines += [f"| {name.replace('_', ' ')} | {value} |" for name, value in asdict(report).items()]
    lines.append(f"| memory and files | {'flat' if report.flat else 'GROW'} |")
    return "\n".join(lines) + "\n"


async def run(folder: Path, *, blocks: int, seed: int) -> Report:
    """
    Run one soak in an empty folder.

    Raises:
        ChaosError: the daemon ended by itself.
    """
    chance = random.Random(seed)  # noqa: S311 - chosen to be repeated
    begun = time.monotonic()
    async with open_site() as site:
        await site.anvil.call("evm_setBlockGasLimit", hex(10**9))
        await site.anvil.call("anvil_setBlockTimestampInterval", 2)
        first = await site.anvil.head() + 1
        daemon = Daemon(site.write_config(folder, start=first, more=_more_rules()))
        traffic = Traffic(site, chance, first)
        try:
            await daemon.start()
            await _hour(traffic, blocks // WARM)  # until everything was loaded and used once
            await _settled(daemon, site, first)
            async with _sampled(daemon) as samples:
                await _hour(traffic, blocks)
                await _settled(daemon, site, first)
            seen = list(samples)
            async with _sampled(daemon) as samples:
                crowd_begun = time.monotonic()
                for _ in range(CROWD // OF_ONE):
                    await traffic.intents(OF_ONE, gas=15_000_000)
                await site.anvil.mine()
                found = await _settled(daemon, site, first)
                crowd_s = time.monotonic() - crowd_begun
            crowded = list(samples)
            idle = await _idle_cpu(daemon.pid)
            after = _sample(daemon.pid)
            await daemon.stop()
        finally:
            await daemon.end()
    third = len(seen) // 3
    return Report(
        blocks=traffic.mined + 1,
        chain_minutes=round(blocks * 2 / 60, 1),
        seconds=round(time.monotonic() - begun),
        rules=3 + len(MORE_RULES),
        triggers=found.triggers,
        missed=len(found.missed),
        doubled=found.doubled,
        rss_first_mb=_median(each.rss_mb for each in seen[:third]),
        rss_last_mb=_median(each.rss_mb for each in seen[-third:]),
        files_first=_median(each.files for each in seen[:third]),
        files_last=_median(each.files for each in seen[-third:]),
        crowd=CROWD,
        crowd_seconds=round(crowd_s),
        crowd_peak_mb=max(each.rss_mb for each in crowded),
        rss_after_crowd_mb=after.rss_mb,
        idle_cpu_percent=idle,
    )


def _more_rules() -> str:
    return "".join(
        RULE.format(name=name, definition=10 + every, trigger=f'{{ type = "block", chain = "l2", every = {every} }}')
        for name, every in MORE_RULES.items()
    )


async def _hour(traffic: Traffic, blocks: int) -> None:
    for number in range(blocks):
        await traffic.block()
        if number % REORG_EVERY == REORG_EVERY - 1:
            await traffic.reorganise()
        await asyncio.sleep(PAUSE_S)


async def _settled(daemon: Daemon, site: Site, first: int) -> Count:
    """Wait until all was accepted, or time is up, and count."""
    last = await site.anvil.head()
    blocks = [await site.anvil.block(number) for number in range(first, last + 1)]
    triggers = expected(blocks, await site.sender.events(from_block=first, to_block=last))
    for name, every in MORE_RULES.items():
        for block in blocks:
            if (number := int(block["number"], 16)) % every == 0:
                proof = f"{number}+{name}+{block['hash']}"
                triggers.append(Expected(name, number, proof, proof))
    deadline = time.monotonic() + SETTLE_S
    while True:
        found = count(triggers, [call.proof_of_task for call in site.aggregator.accepted])
        if not found.missed or time.monotonic() > deadline:
            return found
        daemon.check()
        await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def _sampled(daemon: Daemon) -> AsyncIterator[Sequence[Sample]]:
    """Sample the daemon meanwhile."""
    samples: list[Sample] = []

    async def sample() -> None:
        while True:
            await asyncio.sleep(SAMPLE_S)
            samples.append(_sample(daemon.pid))

    sampling = asyncio.create_task(sample())
    try:
        yield samples
    finally:
        sampling.cancel()
        await asyncio.wait([sampling])


def _sample(pid: int) -> Sample:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Sample(round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1), files)


async def _idle_cpu(pid: int) -> float:
    """Return how much of one core it takes while nothing happens."""

    def used_s() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = used_s()
    await asyncio.sleep(IDLE_S)
    return round((used_s() - before) / IDLE_S * 100, 2)


def _median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 1)


if __name__ == "__main__":
    sys.exit(main())
