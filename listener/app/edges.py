"""The edges that performers and attesters share: the sockets of the HTTP server, and the chains."""

import socket
from contextlib import AsyncExitStack

import aiohttp

from listener import config
from listener.chains import Chain
from listener.web import listen


def open_sockets(settings: config.Http, edges: AsyncExitStack) -> tuple[socket.socket, socket.socket | None]:
    """Listen on the main address, and on the one for claims alone where there is one."""
    main = edges.enter_context(listen("bind", settings.bind))
    if settings.validate_bind is None:
        return main, None
    return main, edges.enter_context(listen("validate_bind", settings.validate_bind))


async def open_chains(settings: config.Config, edges: AsyncExitStack) -> dict[str, Chain]:
    """Make the chains, by name, over one session."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    session = await edges.enter_async_context(aiohttp.ClientSession(connector=connector))
    return {table.name: chain_of(table, session) for table in settings.chains.values()}


def chain_of(table: config.Chain, session: aiohttp.ClientSession) -> Chain:
    """Make one chain of its table, with all its endpoints."""
    chain = Chain(
        table.name,
        table.chain_id,
        max_lag_s=table.max_lag.total_seconds(),
        silence_s=table.silence.total_seconds(),
        quorum=table.quorum,
    )
    for endpoint in table.endpoints:
        chain.add(endpoint.get_secret_value(), endpoint.redacted, session)
    return chain
