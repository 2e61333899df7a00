"""A chain's cursor, moved by hand while no daemon runs."""

import asyncio
from contextlib import AsyncExitStack

import aiohttp
import structlog

from listener import config, follower
from listener.app.edges import chain_of
from listener.app.works import facts
from listener.follower.rewind import Rewound
from listener.journal import Journal

log = structlog.get_logger()

CONNECT_S = 5.0  # for the websockets of a command that only needs one answer


async def rewind(settings: config.Config, name: str, to: int | None) -> Rewound:
    """
    Move a chain's cursor while no daemon runs.

    Raises:
        ListenerError: another process owns the journal, or the chain cannot be read.
    """
    async with AsyncExitStack() as edges:
        journal = await Journal.open(settings.journal.place, facts(settings), alone=True)
        edges.push_async_callback(journal.close)
        await journal.recover({rule.name: rule.max_attempts for rule in settings.rules})
        session = await edges.enter_async_context(aiohttp.ClientSession())
        chain = chain_of(settings.chains[name], session)
        await edges.enter_async_context(chain.attended())
        try:
            async with asyncio.timeout(CONNECT_S):
                await chain.opened()
        except TimeoutError:
            log.warning("websocket.connect_failed", chain=name, waited_s=CONNECT_S)
        return await follower.rewind(chain, journal, to)
