"""
The crash matrix: one journal, killed again and again while blocks, reorgs and faults go on, and counted in the end.

Counted from outside: the triggers that the canonical chain holds, against the calls that the aggregator took.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos.daemon import Daemon
from chaos.plan import Kill, again
from chaos.site import SQLITE, Site, open_site
from chaos.traffic import Traffic
from chaos.weather import Weather
from listener.devnet.count import Count, count, expected
from listener.testing.crash import POINTS

AT_A_STEP_S = 6.0  # for a daemon that is up to reach its step; then it is killed where it is
AT_ANY_MOMENT_S = (0.0, 2.5)  # once it is up
ROUNDS = 4  # for the steps that a run has not reached by then
SETTLE_S = 120.0
PAUSE_S = (0.05, 0.35)  # between two blocks
REORGS = 0.2  # as often as one follows a block
OPEN = frozenset({"pending", "running", "ready"})
BAD = frozenset({"failed", "rejected"})


@dataclass(frozen=True, kw_only=True)
class Report:
    """
    What one run saw.

    ``missed``, ``doubled``, ``differing``, ``failed`` and ``already_known`` must be 0, and ``unreached`` empty: the
    steps that were to be reached and were not.
    """

    journal: str
    seed: int
    seconds: int
    blocks_walked: int
    reorgs: int
    returned: int
    disconnects: int
    kills: int
    kills_at_steps: int
    steps_reached: Sequence[str]
    unreached: Sequence[str]
    triggers: int
    sends: int
    accepted: int
    stray: int
    missed: int
    doubled: int
    differing: int
    already_known: int
    failed: int
    faults: Sequence[str]  # each of them in words

    @property
    def good(self) -> bool:
        """Whether every guarantee held."""
        bad = self.missed or self.doubled or self.differing or self.already_known or self.failed
        return not (bad or self.unreached)


async def run(
    folder: Path, kills: Sequence[Kill], *, seed: int, journal: str = SQLITE, every_step: bool = False
) -> Report:
    """
    Run one matrix in an empty folder; with ``every_step``, go on until each named step was reached.

    Raises:
        ChaosError: the daemon ended by itself.
    """
    chance = random.Random(seed)  # noqa: S311 - chosen to be repeated
    begun = time.monotonic()
    async with open_site() as site:
        first = await site.anvil.head() + 1
        daemon = Daemon(site.write_config(folder, start=first, journal=journal))
        traffic = Traffic(site, random.Random(seed + 1), first)  # noqa: S311 - as above
        weather = Weather(site, random.Random(seed + 2))  # noqa: S311 - as above
        try:
            async with _going_on(traffic, weather):
                reached = [await _kill(daemon, each, chance) for each in kills]
                for _ in range(ROUNDS if every_step else 0):
                    reached += [await _kill(daemon, each, chance) for each in again(reached)]
            await weather.clear()
            await daemon.start()
            found, rows = await _settled(daemon, site, first)
            await daemon.stop()
        finally:
            await daemon.end()
        aggregator = site.aggregator
        return Report(
            journal=journal.partition(":")[0],
            seed=seed,
            seconds=round(time.monotonic() - begun),
            blocks_walked=traffic.mined,
            reorgs=traffic.reorgs,
            returned=traffic.returned,
            disconnects=site.chain_line.broken + site.aggregator_line.broken,
            kills=len(reached),
            kills_at_steps=sum(point is not None for point in reached),
            steps_reached=sorted({point for point in reached if point is not None}),
            unreached=[point for point in POINTS if every_step and point not in reached],
            triggers=found.triggers,
            sends=len(aggregator.sent),
            accepted=len(aggregator.accepted),
            stray=found.stray,
            missed=len(found.missed),
            doubled=found.doubled,
            differing=len(aggregator.differing()),
            already_known=rows["already_known"],
            failed=rows["failed"] + rows["open"],
            faults=[
                *(f"missed: {trigger.proof} of rule {trigger.rule}" for trigger in found.missed),
                *(f"not reached: {point}" for point in POINTS if every_step and point not in reached),
                *(f"sent with {len(payloads)} payloads: {proof}" for proof, payloads in aggregator.differing().items()),
            ],
        )


@contextlib.asynccontextmanager
async def _going_on(traffic: Traffic, weather: Weather) -> AsyncIterator[None]:
    """Let blocks, reorgs and faults go on meanwhile."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_mine(traffic)), group.create_task(weather.blow())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def _mine(traffic: Traffic) -> None:
    ended: asyncio.Future[None] | None = None
    try:
        while True:
            # A call to the chain is never cut short: what we know of it would be wrong.
            ended = asyncio.ensure_future(_mine_one(traffic))
            await asyncio.shield(ended)
            await asyncio.sleep(traffic.chance.uniform(*PAUSE_S))
    finally:
        if ended is not None:
            await ended


async def _mine_one(traffic: Traffic) -> None:
    await traffic.block()
    if traffic.chance.random() < REORGS:
        await traffic.reorganise()


async def _kill(daemon: Daemon, kill: Kill, chance: random.Random) -> str | None:
    """Start it, and kill it; return the step at which it was killed, None for no step."""
    await daemon.start(kill.argument)
    within_s = chance.uniform(*AT_ANY_MOMENT_S) if kill.point is None else AT_A_STEP_S
    return kill.point if await daemon.killed(within_s) else None


async def _settled(daemon: Daemon, site: Site, first: int) -> tuple[Count, Counter[str]]:
    """Wait until everything is done, or time is up, and count."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        last = await site.anvil.head()
        blocks = [await site.anvil.block(number) for number in range(first, last + 1)]
        triggers = expected(blocks, await site.sender.events(from_block=first, to_block=last))
        found = count(triggers, [call.proof_of_task for call in site.aggregator.accepted])
        late = time.monotonic() > deadline
        if not found.missed or late:
            rows = _rows(await daemon.tasks())
            if rows["open"] == 0 or late:
                return found, rows
        daemon.check()
        await asyncio.sleep(1)


def _rows(rows: Sequence[dict[str, object]]) -> Counter[str]:
    """Count rows that ended badly, and those that have not ended; a sent orphan rests for good."""
    return Counter(
        failed=sum(row["state"] in BAD for row in rows),
        already_known=sum(row["already_known"] is True for row in rows),
        open=sum(row["state"] in OPEN and not row["orphaned"] for row in rows),
    )
