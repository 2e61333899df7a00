"""What goes wrong around the daemon, chosen by a seed: outages, lost answers, lines that break, fall silent or drip."""

import asyncio
import random

from chaos.site import Site
from listener.testing import Fault, Proxy

ONCE = (
    Fault.lost("reset"),
    Fault.lost("close"),
    Fault.lost("reset"),
    Fault.cut(),
    Fault.error(-32603, "timeout of the gossip"),
    Fault.answered(500),
    Fault.slow(0.05),
)
OUTAGES = (Fault.answered(503), Fault.html(), Fault.hang(), Fault.behind(), Fault.lost("hang"))


class Weather:
    """Blows until it is cancelled; ``clear`` mends everything."""

    def __init__(self, site: Site, chance: random.Random) -> None:
        self._site = site
        self._chance = chance

    async def blow(self) -> None:
        """Make one thing after the other go wrong."""
        while True:
            await asyncio.sleep(self._chance.uniform(0.1, 0.6))
            await self._chance.choice((self._once, self._once, self._once, self._aggregator_out, self._line_out))()

    async def clear(self) -> None:
        """Mend everything."""
        aggregator = self._site.aggregator
        aggregator.faults.clear()
        aggregator.always = None
        for line in (self._site.chain_line, self._site.aggregator_line):
            line.silent, line.delay_s, line.bytes_per_s = False, 0.0, None
            await line.listen()

    async def _once(self) -> None:
        self._site.aggregator.faults += self._chance.sample(ONCE, 2)

    async def _aggregator_out(self) -> None:
        self._site.aggregator.always = self._chance.choice(OUTAGES)
        await asyncio.sleep(self._chance.uniform(0.1, 1.5))
        self._site.aggregator.always = None

    async def _line_out(self) -> None:
        line = self._chance.choice((self._site.chain_line, self._site.aggregator_line))
        await self._chance.choice((_cut, _reset, _silent, _refused, _slow))(line, self._chance.uniform(0.1, 1.0))


async def _cut(line: Proxy, _for_s: float) -> None:
    line.cut()


async def _reset(line: Proxy, _for_s: float) -> None:
    line.reset()


async def _silent(line: Proxy, for_s: float) -> None:
    line.silent = True
    await asyncio.sleep(for_s)
    line.silent = False
    line.reset()  # what was swallowed has torn a hole into every stream


async def _refused(line: Proxy, for_s: float) -> None:
    await line.refuse()
    line.cut()
    await asyncio.sleep(for_s)
    await line.listen()


async def _slow(line: Proxy, for_s: float) -> None:
    line.delay_s, line.bytes_per_s = 0.02, 200_000
    await asyncio.sleep(for_s)
    line.delay_s, line.bytes_per_s = 0.0, None
