"""What is measured. Each scenario runs one client once on a site of its own and returns its figures, or its faults."""

import asyncio
import statistics
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from bench.client import DEFINITION, Client, run_client
from bench.site import BenchError, Seen, Site, open_site
from bench.verdict import block_of, faults
from listener.devnet import child

READY_TIMEOUT_S = 30
WARM_UP_BLOCKS = 10
SETTLE_S = 0.3  # for what is sent twice, and for commits that follow an answer

SINGLE_BLOCKS = 120
# Between blocks. A client that has just read an answer acknowledges it up to 40 ms later, and anvil's socket (which has
# Nagle's algorithm on) keeps the next notification back as long: blocks nearer than that would measure the kernel.
SINGLE_PAUSE_S = 0.1

BURST_INTENTS = 1000
BURST_BLOCKS = 3
SLOW_ANSWER_S = 0.05

CATCH_UP_BLOCKS = 2000
CATCH_UP_INTENTS = 10  # in each block

IDLE_START_S = 5  # to start and connect
IDLE_S = 15

VALIDATE_CONNECTIONS = 50
VALIDATE_S = 10


@dataclass(frozen=True)
class Result:
    """One client in one scenario, once."""

    figures: Mapping[str, float] = field(default_factory=dict)
    faults: Mapping[str, int] = field(default_factory=dict)


async def single(client: str, folder: Path) -> Result:
    """One intent a block: from the block's notification to the arrival of its task."""
    async with open_site() as site, run_client(client, site, folder) as running:
        first = await _warm(site, running)
        for _ in range(SINGLE_BLOCKS):
            await site.announce(1)
            await asyncio.sleep(SINGLE_PAUSE_S)
        seen = await _seen(site, first, SINGLE_BLOCKS)
        wrong = await _faults(site, seen, first)
    latencies_ms = sorted((at - seen.heads[block_of(params)]) * 1000 for at, params in seen.calls)
    if wrong:
        return Result(faults=wrong)
    return Result({"p50_ms": statistics.median(latencies_ms), "p99_ms": latencies_ms[int(len(latencies_ms) * 0.99)]})


async def burst(client: str, folder: Path, *, delay_s: float = 0) -> Result:
    """1,000 intents in a block: tasks a second from the block's notification to the arrival of its last task."""
    async with open_site(delay_s=delay_s) as site, run_client(client, site, folder) as running:
        first = await _warm(site, running)
        before = await site.count()
        for block in range(1, BURST_BLOCKS + 1):
            await site.announce(BURST_INTENTS)
            await site.arrived(before + block * BURST_INTENTS)
            await asyncio.sleep(SETTLE_S)
        memory = _memory(running)
        seen = await _seen(site, first, BURST_BLOCKS * BURST_INTENTS)
        wrong = await _faults(site, seen, first)
    if wrong:
        return Result(faults=wrong)
    last: dict[int, float] = {}
    for at, params in seen.calls:
        last[block_of(params)] = at
    rates = [BURST_INTENTS / (at - seen.heads[block]) for block, at in last.items()]
    return Result({"tasks_per_s": statistics.median(rates), **memory})


async def burst_50ms(client: str, folder: Path) -> Result:
    """Measure a burst at an aggregator that answers after 50 ms."""
    return await burst(client, folder, delay_s=SLOW_ANSWER_S)


async def catch_up(client: str, folder: Path) -> Result:
    """
    Start beside 2,000 blocks with 20,000 intents that nobody answered.

    Tasks a second are counted from the first arrival to the last, for starting up is no part of catching up;
    ``whole_s`` is the time from the start of the process, imports included, to the last arrival.
    """
    count = CATCH_UP_BLOCKS * CATCH_UP_INTENTS
    async with open_site() as site:
        first = await site.anvil.head() + 1
        for _ in range(CATCH_UP_BLOCKS):
            await site.announce(CATCH_UP_INTENTS)
        async with run_client(client, site, folder, start=first) as running:
            await site.arrived(count)
            memory = _memory(running)
            seen = await _seen(site, first, count)
        wrong = await _faults(site, seen, first)
    if wrong:
        return Result(faults=wrong)
    begun, ended = seen.calls[0][0], seen.calls[-1][0]
    return Result({"tasks_per_s": count / (ended - begun), "whole_s": ended - running.started_at, **memory})


async def idle(client: str, folder: Path) -> Result:
    """Follow a chain of one block a second in which nothing happens; one intent afterwards proves that it followed."""
    async with open_site(block_time_s=1) as site, run_client(client, site, folder) as running:
        await asyncio.sleep(IDLE_START_S)
        used_s, begun = running.processor_s(), time.monotonic()
        await asyncio.sleep(IDLE_S)
        percent = 100 * (running.processor_s() - used_s) / (time.monotonic() - begun)
        first = await site.anvil.head() + 1
        await site.announce(1)
        wrong = await _faults(site, await _seen(site, first, 1), first)
    return Result(faults=wrong) if wrong else Result({"processor_percent": percent})


async def validate(client: str, folder: Path) -> Result:
    """Judge claims of a trivial task over 50 connections, while a chain of one block a second is followed."""
    async with open_site(block_time_s=1) as site, run_client(client, site, folder, attests=True) as running:
        url, used_s = await _url(running), running.processor_s()
        asker = await child.start(
            *(sys.executable, "-m", "bench.asker", "--url", url, "--definition", str(DEFINITION)),
            *("--connections", str(VALIDATE_CONNECTIONS), "--seconds", str(VALIDATE_S)),
            stdout=PIPE,
            stderr=sys.stderr.fileno(),
        )
        try:
            output, _ = await asker.communicate()
        finally:
            await child.stop(asker)
        if asker.returncode != 0:
            raise BenchError("the asker ended before it had an answer; what it said is above")
        used_s = running.processor_s() - used_s
        first = await site.anvil.head() + 1
        await site.announce(1)
        wrong = await _faults(site, await _seen(site, first, 1), first)
    figures = orjson.loads(output)
    answers = figures.pop("wrong")
    if answers:
        wrong["wrong answers"] = answers
    figures["processor_us"] = used_s / figures.pop("asked") * 1e6  # what other work on the machine changes least
    return Result(faults=wrong) if wrong else Result(figures)


async def _url(client: Client) -> str:
    """Wait until the daemon says where it listens."""
    ends_at = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < ends_at:
        client.check()
        lines = [orjson.loads(line) for line in client.log.read_bytes().splitlines(keepends=True) if line[-1:] == b"\n"]
        for line in lines:
            if line["event"] == "http.listening":
                return str(line["url"])
        await asyncio.sleep(SETTLE_S)
    raise BenchError(f"the {client.name} does not listen: {client.last_words()}")


async def _warm(site: Site, client: Client) -> int:
    """Announce intents until the client answers, then a few more; return the first block after these."""
    ends_at = time.monotonic() + READY_TIMEOUT_S
    while not await site.count():
        client.check()
        if time.monotonic() > ends_at:
            raise BenchError(f"the {client.name} answered no intent within {READY_TIMEOUT_S} s: {client.last_words()}")
        await site.announce(1)
        await asyncio.sleep(SETTLE_S)
    for _ in range(WARM_UP_BLOCKS):
        await site.announce(1)
        await asyncio.sleep(SINGLE_PAUSE_S)
    await asyncio.sleep(SETTLE_S)
    return await site.anvil.head() + 1


async def _seen(site: Site, first: int, count: int) -> Seen:
    """Return what was seen of the blocks from ``first`` on, once ``count`` tasks of theirs have come or will not."""
    warm = sum(1 for _, params in (await site.seen()).calls if block_of(params) < first)
    await site.arrived(warm + count)
    await asyncio.sleep(SETTLE_S)
    seen = await site.seen()
    return Seen(seen.heads, [(at, params) for at, params in seen.calls if block_of(params) >= first])


async def _faults(site: Site, seen: Seen, first: int) -> dict[str, int]:
    return faults(await site.sender.events(from_block=first), [params for _, params in seen.calls])


def _memory(client: Client) -> dict[str, float]:
    return {"rss_mb": client.memory_mb("VmRSS"), "peak_mb": client.memory_mb("VmHWM")}


SCENARIOS: dict[str, Callable[[str, Path], Awaitable[Result]]] = {
    "single": single,
    "burst": burst,
    "burst-50ms": burst_50ms,
    "catch-up": catch_up,
    "idle": idle,
    "validate": validate,
}
DAEMON_ALONE = frozenset({"validate"})  # what the script has nothing to compare with
