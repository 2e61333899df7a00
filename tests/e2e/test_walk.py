"""
The whole daemon as an operator runs it, killed at random moments, with an aggregator that fails in every way.

Counted from outside: what the canonical chain holds, against what the aggregator accepted.
"""

import asyncio
import os
import random
import signal
from collections import defaultdict
from pathlib import Path
from typing import Any

from aiohttp import web

from listener.devnet.accounts import ACCOUNTS
from listener.devnet.aggregator import Aggregator
from listener.devnet.count import count, expected
from listener.devnet.daemon import Daemon
from listener.devnet.network import Network, local_network

LIMIT_S = 60.0
SEED = 20_260_101
BLOCKS = 60
KILLS = 4


class Scene:
    """What happens while the daemon walks; every random choice comes from one seed."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.chance = random.Random(SEED)  # noqa: S311 - chosen to be repeated
        self.pids: list[int] = []
        self.sent: dict[str, set[str]] = defaultdict(set)  # each proof, and every form in which it was sent
        self.lost = 0
        network.aggregator.before = self._note

    async def play(self, first: int) -> None:
        """Mine every block of the scene, with intents, kills and faults of the aggregator in between."""
        kills = set(self.chance.sample(range(5, BLOCKS - 5), KILLS))
        for index in range(BLOCKS):
            await self._misbehave(index)
            for _ in range(self.chance.randrange(3)):
                await self.network.intent_sender.send(10, ACCOUNTS[1].address, self.chance.randbytes(16))
            assert await self.network.anvil.mine() == first + index
            await asyncio.sleep(self.chance.uniform(0.0, 0.15))
            if index in kills:
                await self._kill()

    async def _misbehave(self, index: int) -> None:
        aggregator = self.network.aggregator
        if index == 12:
            await aggregator.close()
        elif index == 22:
            await aggregator.start()
        elif index == 30:
            aggregator.after = self._lose
        elif index == 45:
            aggregator.after = self._fail
        elif index == 52:
            async with asyncio.timeout(LIMIT_S):
                while not self.lost:  # noqa: ASYNC110 - on a slow machine the daemon may only just be starting
                    await asyncio.sleep(0.02)
            aggregator.after = None

    async def _kill(self) -> None:
        """End the daemon wherever it is, once it is there again after the last time."""
        known = len(self.pids)
        os.kill(self.pids[-1], signal.SIGKILL)
        async with asyncio.timeout(LIMIT_S):
            while len(self.pids) == known:  # noqa: ASYNC110 - the daemon's keeper tells nobody else
                await asyncio.sleep(0.02)
        await asyncio.sleep(self.chance.uniform(0.0, 2.0))  # before it has started, while it recovers, or at work

    async def _note(self, request: web.BaseRequest) -> None:
        call: dict[str, Any] = await request.json()
        if call["method"] == "sendTask":
            self.sent[call["params"][0]].add(repr(call["params"]))

    async def _lose(self, request: web.BaseRequest) -> web.Response:
        """Accept, but let the answer be lost."""
        self.lost += 1
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def _fail(self, _request: web.BaseRequest) -> web.Response | None:
        """Accept, but answer every second time that it failed."""
        if self.chance.random() < 0.5:
            return None
        self.lost += 1
        error = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"timeout of the gossip"}}'
        return web.Response(body=error, content_type="application/json")


async def test_nothing_is_missed_or_doubled_however_often_it_is_killed(tmp_path: Path) -> None:
    async with local_network(mining=False) as network:
        first = await network.anvil.head() + 1
        scene = Scene(network)
        daemon = Daemon(network.write_config(tmp_path, start=first), lambda pid, _restarts: scene.pids.append(pid))
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(daemon.keep())
            async with asyncio.timeout(LIMIT_S):
                while not scene.pids:  # noqa: ASYNC110 - see above
                    await asyncio.sleep(0.02)
            await scene.play(first)
            triggers = expected(
                [await network.anvil.block(number) for number in range(first, first + BLOCKS)],
                await network.intent_sender.events(from_block=first),
            )
            await settled(network.aggregator, triggers, daemon)
            await daemon.stop()
            await keeping
        rows = await daemon.tasks()
    found = count(triggers, [call.proof_of_task for call in network.aggregator.accepted])
    assert (found.missed, found.doubled, found.stray) == ((), 0, 0)
    assert len(network.aggregator.accepted) == len(triggers) == len(rows)
    assert {row["state"] for row in rows} == {"accepted"}
    assert not any(row["already_known"] for row in rows)
    assert {proof: len(forms) for proof, forms in scene.sent.items() if len(forms) > 1} == {}
    assert daemon.restarts == KILLS
    assert scene.lost > 0
    assert any(row["sends"] > 1 for row in rows)


async def settled(aggregator: Aggregator, triggers: list[Any], daemon: Daemon) -> None:
    """Wait until everything was accepted and written as such."""
    async with asyncio.timeout(LIMIT_S):
        while len(aggregator.accepted) < len(triggers) or await daemon.tasks("--state", "ready"):  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.5)
