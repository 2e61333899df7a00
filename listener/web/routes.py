"""All that the daemon answers, put together."""

import asyncio
from collections.abc import Sequence

from listener import config
from listener.aggregator import Aggregator
from listener.chains import Chain
from listener.journal import Journal
from listener.journal.readings import Readings
from listener.web import exposition
from listener.web.execute import Executable, Execute
from listener.web.health import Health, aggregator_check, chain_check, key_check
from listener.web.openapi import document_route
from listener.web.reads import Reads
from listener.web.route import Route
from listener.web.waits import Waits


def performer_routes(  # noqa: PLR0913 -- the edges of a performer
    *,
    settings: config.Config,
    executables: Sequence[Executable],
    chains: Sequence[Chain],
    journal: Journal,
    readings: Readings,
    aggregator: Aggregator,
    address: str,
    stopping: asyncio.Event,
) -> list[Route]:
    """
    Give the routes of a performer.

    Args:
        settings: what the operator wrote.
        executables: the rules that are executed on request.
        chains: those that are followed.
        journal: where tasks are asked for.
        readings: the same, to look at.
        aggregator: who takes the tasks.
        address: of the key that signs.
        stopping: set when the daemon is asked to stop.
    """
    checks = [
        *(chain_check(chain, journal, settings.chains[chain.name].max_lag.total_seconds()) for chain in chains),
        aggregator_check(aggregator),
        key_check(address),
    ]
    health = Health(checks, stopping, healthcheck=settings.http.healthcheck)
    waits = Waits(journal, readings, settings.http.max_requests // 2, stopping)
    execute = Execute(executables, journal, waits, longest_wait_s=settings.http.wait_s)
    routes = [execute.route, *health.routes, exposition.ROUTE, *Reads(readings).routes]
    return [*routes, document_route(routes, guarded=settings.http.token is not None)]
