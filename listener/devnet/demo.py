"""
The main job on one machine: a chain with traffic, the daemon as a child, and a count from outside of what came through.

The demo mines the blocks itself, so that it knows exactly which ones count; the daemon may die at any moment meanwhile.
"""

import asyncio
import contextlib
import itertools
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from listener.devnet.accounts import ACCOUNTS
from listener.devnet.attesters import attesters
from listener.devnet.count import DOMAINS, KEPT, Expected, count, counted_as, expected, expected_of
from listener.devnet.daemon import Daemon, UnreadError
from listener.devnet.gossip import Gossip
from listener.devnet.kept import Kept
from listener.devnet.network import Network, local_network
from listener.devnet.report import Report, Summary
from listener.devnet.systems import Systems, systems
from listener.errors import ConfigError, ListenerError

SETTLE_S = 30.0  # for open tasks, once traffic has stopped
POLL_S = 2.0  # each look at the journal starts a process
OPEN = frozenset({"pending", "running", "ready"})
BAD = frozenset({"failed", "rejected"})
DESTINATIONS = (1, 10, 8453)  # chain ids that an intent may ask for


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line chose."""

    folder: Path
    blocks: int | None = None  # None: until asked to stop
    block_time_s: float = 1.0


async def run(options: Options, report: Report, stop: asyncio.Event) -> Summary:
    """
    Bring up the network, run the demo on it and take it down again.

    Raises:
        ConfigError: the folder holds an earlier journal, or the daemon refuses what was written for it.
    """
    _refuse_used(options.folder)
    try:
        async with local_network(mining=False) as network:
            report.folder(options.folder)
            async with systems(network.anvil, f"{network.daemon_url}/healthcheck") as around:
                first = await network.anvil.head() + 1
                config = network.write_config(options.folder, start=first, more=around.rules(options.folder))
                async with attesters(config, network.daemon_url) as urls, Gossip(urls) as gossip:
                    network.aggregator.gossip = gossip
                    return await Demo(options, network, around, report, config, first).run(stop)
    except ExceptionGroup as faults:
        known, others = faults.split(ListenerError)
        if known is None or others is not None:
            raise
        raise known.exceptions[0] from faults


class Demo:
    """One demo on a running network."""

    def __init__(  # noqa: PLR0913, PLR0917 - it puts together what runs beside each other
        self, options: Options, network: Network, around: Systems, report: Report, config: Path, first: int
    ) -> None:
        self._options = options
        self._network = network
        self._systems = around
        self._kept = Kept(config.with_name("proofs"))
        self._report = report
        self._first = first  # block that counts
        self._last = first - 1
        self._shown: set[int] = set()  # tasks
        self._since = first  # no task of an earlier block is open
        self._daemon = Daemon(config, report.started)

    async def run(self, stop: asyncio.Event) -> Summary:
        """Run until the blocks are counted or ``stop`` is set, let open tasks settle, and count."""
        mined = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep(stop))
            group.create_task(self._watch(mined))
            try:
                await self._mine(stop)
                mined.set()
                if self._daemon.fault is None:
                    self._report.settling(SETTLE_S)
                    await self._settle()
            finally:
                await self._daemon.stop()
        if self._daemon.fault is not None:
            raise self._daemon.fault
        return await self._summary()

    async def _keep(self, stop: asyncio.Event) -> None:
        await self._daemon.keep()
        stop.set()  # where it refused its configuration, traffic is for nobody

    async def _mine(self, stop: asyncio.Event) -> None:
        """Mine block after block, with one to three intents in each."""
        anvil, sender = self._network.anvil, self._network.intent_sender
        for mined in itertools.count(1):
            for _ in range(1 + secrets.randbelow(3)):
                to = secrets.choice(ACCOUNTS).address
                await sender.send(secrets.choice(DESTINATIONS), to, secrets.token_bytes(32))
            await self._systems.go_on(self._last + 1)
            self._last = await anvil.mine()
            if mined == self._options.blocks or await _is_set(stop, self._options.block_time_s):
                return

    async def _watch(self, mined: asyncio.Event) -> None:
        """Show tasks as they end, while blocks come."""
        while not await _is_set(mined, POLL_S):
            await self._look()

    async def _settle(self) -> None:
        """Wait until every trigger is accepted, no task is open and the attesters have voted, or time is up."""
        triggers = await self._expected()
        with contextlib.suppress(TimeoutError):  # the count says what is missing
            async with asyncio.timeout(SETTLE_S):
                while count(triggers, self._accepted()).missed or self._voting or await self._look():  # noqa: ASYNC110 - nobody tells us
                    await asyncio.sleep(0.5)

    async def _look(self) -> bool:
        """Read the tasks since the oldest open one, show those that ended, and tell whether any is open."""
        try:
            rows = await self._daemon.tasks("--block", f"{self._since}..{self._last}")
        except UnreadError as error:
            if self._shown:  # else the daemon has not made its journal yet
                self._report.unread(str(error))
            return True
        for row in rows:
            if row["state"] not in OPEN:
                self._show(row)
        opened = [row["block_number"] for row in rows if row["state"] in OPEN]
        # The daemon walks upwards: no later row has a lower block, but for a reorg's, and those the summary shows.
        self._since = min(opened, default=max((row["block_number"] for row in rows), default=self._since))
        return bool(opened)

    def _show(self, row: dict[str, Any]) -> None:
        if row["id"] not in self._shown:
            self._shown.add(row["id"])
            self._report.task(row)

    def _accepted(self) -> list[str]:
        return [
            counted_as(call.task_definition_id, call.proof_of_task, self._kept.find(call.proof_of_task))
            for call in self._network.aggregator.accepted
        ]

    @property
    def _voting(self) -> bool:
        gossip = self._network.aggregator.gossip
        return gossip is not None and gossip.is_open

    async def _expected(self) -> list[Expected]:
        anvil, sender = self._network.anvil, self._network.intent_sender
        blocks = [await anvil.block(number) for number in range(self._first, self._last + 1)]
        span = {"from_block": self._first, "to_block": self._last}
        asked = await self._systems.domains.events(**span)
        return [*expected(blocks, await sender.events(**span), KEPT), *expected_of(DOMAINS, asked)]

    async def _summary(self) -> Summary:
        rows = await self._daemon.tasks()
        for row in rows:
            self._show(row)
        counted = count(await self._expected(), self._accepted())
        aggregator = self._network.aggregator
        gossip = aggregator.gossip
        rejected = 0 if gossip is None else len(gossip.rejected)
        summary = Summary(
            blocks=self._last - self._first + 1,
            triggers=counted.triggers,
            sent=len(aggregator.accepted) + len(aggregator.refused),
            accepted=len(aggregator.accepted),
            approved=None if gossip is None else len(gossip.approved),
            missed=len(counted.missed),
            doubled=counted.doubled,
            failed=rejected + sum(row["state"] in BAD or row["already_known"] is True for row in rows),
            restarts=self._daemon.restarts,
            stray=counted.stray,
        )
        self._report.summary(summary, counted.missed)
        return summary


def _refuse_used(folder: Path) -> None:
    """Refuse a folder with a journal: its chain ended with the demo that made it."""
    if (folder / "listener.db").exists():
        raise ConfigError(f"demo: {folder} holds the journal of an earlier demo (listener.db); name an empty folder")


async def _is_set(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait for an event for so long, and tell whether it is set."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
