"""An attester: chains, a judge and the HTTP server; and the route of claims, which a performer may serve too."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial

from listener import config, memory
from listener.app.edges import open_chains, open_sockets
from listener.app.stage import Stage
from listener.app.works import read_chains, works_of
from listener.errors import ConfigError
from listener.handlers import Handler
from listener.model import Claim, Judgement
from listener.proofs import Opened, opened
from listener.rules.matcher import Matcher
from listener.runner import Judge, Work
from listener.web import Route, Server, attester_routes, ipfs_route, no_healthcheck_route, validate_route


async def attend(
    settings: config.Config, matchers: Sequence[Matcher], handlers: Mapping[str, Handler], edges: AsyncExitStack
) -> list[Stage]:
    """Open an attester's edges and make its stages: no journal, no cursor, nothing that signs or sends."""
    memory.bound_recursion()
    sockets = open_sockets(settings.http, edges)
    chains = await open_chains(settings, edges)
    proofs = opened(settings.proofs)
    works = works_of(settings, matchers, handlers, chains, proofs)
    judge = Judge()
    own = read_chains(settings, [work for work in works if work.handler.validate is not None])
    stopping = asyncio.Event()
    routes = attester_routes(
        settings=settings,
        chains=[chain for name, chain in chains.items() if name in own],
        stopping=stopping,
        more=[
            claims_route(settings, works, judge.judge),
            *proof_routes(settings, proofs),
            *([no_healthcheck_route()] if settings.http.healthcheck else []),
        ],
    )
    for name in own:
        await edges.enter_async_context(chains[name].attended())
    return [judge, Server(settings.http, *sockets, routes, stopping)]


def proof_routes(settings: config.Config, opened: Opened) -> list[Route]:
    """Serve the proofs that are kept as files."""
    return [] if opened.folder is None else [ipfs_route(opened.folder, settings.proofs.max_bytes)]


def claims_route(
    settings: config.Config,
    works: Sequence[Work],
    judge: Callable[[Sequence[Work], Claim], "asyncio.Future[Judgement]"],
) -> Route:
    """Serve the claims of each task definition whose task has a ``validate``."""
    from listener.attester import Attester, Definition  # noqa: PLC0415 - a performer alone does without

    by_definition: dict[int, list[Work]] = {}
    for work in works:
        if work.handler.validate is not None:
            by_definition.setdefault(work.rule.task_definition_id, []).append(work)
    if not by_definition:
        raise ConfigError("no rule's task has a function validate, so there is nothing to judge; write one")
    definitions = {number: Definition(own[0].rule.name, partial(judge, own)) for number, own in by_definition.items()}
    # A quarter of the places stays for those who ask something else.
    return validate_route(Attester(definitions, room=settings.http.max_requests * 3 // 4).answer)
