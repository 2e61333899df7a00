"""
Where one client is measured: a fresh chain with an IntentSender, and the witness that sees both ends of its work.

Everything listens on the loopback address alone and ends with the site.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from listener.devnet import child
from listener.devnet.accounts import ACCOUNTS
from listener.devnet.anvil import HOST, Anvil
from listener.devnet.intent_sender import IntentSender
from listener.errors import ListenerError

CHAIN_ID = 10  # which the intents ask for
CALL_DATA = (
    bytes.fromhex("a9059cbb") + bytes(12) + bytes.fromhex(ACCOUNTS[1].address[2:]) + (10**18).to_bytes(32, "big")
)
START_TIMEOUT_S = 20
POLL_S = 0.05
STALLED_S = 10.0  # without a new task: what is missing will not come


class BenchError(ListenerError):
    """Nothing can be measured."""


@dataclass(frozen=True)
class Seen:
    """What the witness saw; times are monotonic seconds."""

    heads: dict[int, float]  # when each block was announced
    calls: list[tuple[float, Any]]  # when each sendTask arrived, and its parameters


@dataclass(frozen=True)
class Site:
    """One chain with its witness."""

    anvil: Anvil
    sender: IntentSender
    aggregator_url: str
    _session: aiohttp.ClientSession

    async def announce(self, intents: int) -> None:
        """Mine one block that holds so many intents."""
        if intents == 1:
            await self.sender.send(CHAIN_ID, ACCOUNTS[1].address, CALL_DATA)
        else:
            await self.sender.send_many(intents, CHAIN_ID, ACCOUNTS[1].address, CALL_DATA)
        await self.anvil.call("evm_mine")

    async def count(self) -> int:
        """Return how many tasks have arrived."""
        return int(await self._ask("count"))

    async def arrived(self, count: int) -> None:
        """Wait until so many tasks have arrived in all, or until no more come."""
        loop = asyncio.get_running_loop()
        now, last_new = 0, loop.time()
        while now < count and loop.time() - last_new < STALLED_S:
            await asyncio.sleep(POLL_S)
            before, now = now, await self.count()
            if now > before:
                last_new = loop.time()

    async def seen(self) -> Seen:
        """Return all that the witness saw."""
        answer = await self._ask("seen")
        return Seen(heads=dict(answer["heads"]), calls=[(at, params) for at, params in answer["calls"]])

    async def _ask(self, what: str) -> Any:
        async with self._session.get(f"{self.aggregator_url}/{what}") as response:
            return orjson.loads(await response.read())


@asynccontextmanager
async def open_site(*, delay_s: float = 0, block_time_s: float | None = None) -> AsyncIterator[Site]:
    """
    Bring a site up, and down again.

    Args:
        delay_s: how long its aggregator takes to answer.
        block_time_s: None mines only what is announced.
    """
    async with (
        Anvil(mining=block_time_s is not None, block_time_s=block_time_s) as anvil,
        aiohttp.ClientSession() as session,
    ):
        sender = await IntentSender.deploy(anvil)
        witness = await child.start(
            *(sys.executable, "-m", "bench.witness", "--ws", anvil.ws_url, "--delay", str(delay_s)),
            stdout=PIPE,
            stderr=sys.stderr.fileno(),
        )
        try:
            yield Site(anvil, sender, f"http://{HOST}:{await _port(witness)}", session)
        finally:
            await child.stop(witness)


async def _port(witness: Process) -> int:
    if witness.stdout is None:
        raise BenchError("the witness was started without a pipe")
    async with asyncio.timeout(START_TIMEOUT_S):
        line = await witness.stdout.readline()
    if not line:
        raise BenchError("the witness ended before it listened; what it said is above")
    return int(line)
