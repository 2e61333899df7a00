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
from listener.web.health import Check, Health, aggregator_check, chain_check, key_check, reading_check
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
    more: Sequence[Route] = (),
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
        more: what others answer.
    """
    checks = [
        *(chain_check(chain, journal, settings.chains[chain.name].max_lag.total_seconds()) for chain in chains),
        aggregator_check(aggregator),
        key_check(address),
    ]
    waits = Waits(journal, readings, settings.http.max_requests // 2, stopping)
    execute = Execute(executables, journal, waits, longest_wait_s=settings.http.wait_s)
    return _with_health(settings.http, checks, stopping, [execute.route, *Reads(readings).routes, *more])


def attester_routes(
    *, settings: config.Config, chains: Sequence[Chain], stopping: asyncio.Event, more: Sequence[Route]
) -> list[Route]:
    """Give the routes of an attester: what it judges is ``more``, and it is ready where its chains can be read."""
    checks = [reading_check(chain, settings.chains[chain.name].max_lag.total_seconds()) for chain in chains]
    return _with_health(settings.http, checks, stopping, more)


def _with_health(
    http: config.Http, checks: Sequence[Check], stopping: asyncio.Event, routes: Sequence[Route]
) -> list[Route]:
    health = Health(checks, stopping, healthcheck=http.healthcheck)
    found = [*routes, *health.routes, exposition.ROUTE]
    return [*found, document_route(found, guarded=http.token is not None)]
