"""A performer: its edges, and the stages that stand on them."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

import structlog

from listener import config, memory
from listener.aggregator import Aggregator
from listener.app.attester import claims_route, proof_routes
from listener.app.edges import open_chains, open_sockets
from listener.app.stage import Stage
from listener.app.tracers import tracers
from listener.app.works import facts, read_chains, works_of
from listener.chains import Chain
from listener.config.trigger import HttpTrigger, ScheduleTrigger
from listener.errors import ConfigError
from listener.follower import Follower
from listener.handlers import Handler
from listener.journal import Journal
from listener.journal.keeper import Keeper
from listener.journal.readings import Readings
from listener.proofs import opened
from listener.pulse import Pulse
from listener.rules.matcher import Matcher
from listener.runner import Runner, Work
from listener.signing import Signer
from listener.submitter import Submitter
from listener.web import Executable, Healthcheck, Route, Server, no_validate_route, performer_routes

log = structlog.get_logger()


async def build(  # noqa: PLR0913 - what the operator wrote, in three parts, and how to start with it
    settings: config.Config,
    matchers: Sequence[Matcher],
    handlers: Mapping[str, Handler],
    edges: AsyncExitStack,
    resume_at: str | None = None,
    *,
    attests: bool = False,
) -> list[Stage]:
    """Open a performer's edges and make the stages that stand on them; the stack closes the edges in reverse."""
    # Where there are rules, the configuration has made sure of the other three.
    if not settings.rules or not settings.performer or not settings.performer.key or not settings.aggregator:
        raise ConfigError("there are no rules, so there is nothing to run; write a [[rules]] block")
    memory.bound_recursion()
    signer = Signer(settings.performer.key.get_secret_value(), settings.performer.address)
    journal = await Journal.open(settings.journal.place, facts(settings))
    edges.push_async_callback(journal.close)
    sockets = open_sockets(settings.http, edges)  # before anything is written: a port that is taken ends the start
    await _take_up(journal, settings, resume_at)
    chains = await open_chains(settings, edges)
    proofs = opened(settings.proofs)
    works = works_of(settings, matchers, handlers, chains, proofs)
    aggregator = Aggregator(
        settings.aggregator.url.get_secret_value(),
        settings.aggregator.url.redacted,
        timeout_s=settings.aggregator.timeout_s,
        target_chain_id=settings.aggregator.target_chain_id,
    )
    edges.push_async_callback(aggregator.close)
    readings = Readings(settings.journal.place)
    edges.callback(readings.close)
    runner = Runner(works, signer, journal)
    stopping = asyncio.Event()
    routes = performer_routes(
        settings=settings,
        executables=_executables(works),
        chains=[chain for chain in chains.values() if any(work.chain == chain.name for work in works)],
        journal=journal,
        readings=readings,
        aggregator=aggregator,
        address=signer.address,
        stopping=stopping,
        more=[
            claims_route(settings, works, runner.judge) if attests else no_validate_route(),
            *_healthchecks(settings, chains, signer),
            *proof_routes(settings, proofs),
        ],
    )
    for name in _read_chains(settings, works):
        # Not in the followers: handlers that are finished after a stop still read over these lines.
        await edges.enter_async_context(chains[name].attended())
    return [
        *tracers(readings, edges),
        *_followers(settings, works, chains, journal),
        runner,
        Submitter(
            aggregator,
            journal,
            in_flight=settings.aggregator.in_flight,
            give_up_after_s=settings.aggregator.give_up_after.total_seconds(),
        ),
        *await _schedulers(works, journal),
        Pulse(journal),
        *([] if settings.journal.keep is None else [Keeper(journal, settings.journal.keep)]),
        Server(settings.http, *sockets, routes, stopping),
    ]


async def _take_up(journal: Journal, settings: config.Config, resume_at: str | None) -> None:
    """Go on with what earlier processes left in the journal."""
    expired = await journal.resume(resume_at)
    if resume_at is not None:
        log.warning("journal.resumed", at=resume_at, expired=expired)
    running, ready = await journal.recover({rule.name: rule.max_attempts for rule in settings.rules})
    for gone in await journal.end_gone():
        log.warning("rule.gone", rule=gone.rule, chain=gone.chain, expired=gone.expired, reason=gone.reason)
    log.info("journal.opened", url=settings.journal.url.redacted, was_running=running, was_ready=ready)


def _read_chains(settings: config.Config, works: Sequence[Work]) -> set[str]:
    """Give the chains that rules look at, elections read, and health checks are answered from."""
    answered = set() if settings.healthcheck_chain is None else {settings.healthcheck_chain}
    return read_chains(settings, works) | answered


def _healthchecks(settings: config.Config, chains: Mapping[str, Chain], signer: Signer) -> list[Route]:
    """Answer health checks, where the configuration says so."""
    name = settings.healthcheck_chain
    return [] if name is None else [Healthcheck(chains[name], signer.sign_block_hash, signer.address).route]


def _followers(
    settings: config.Config, works: Sequence[Work], chains: Mapping[str, Chain], journal: Journal
) -> list[Follower]:
    """Make a follower for each chain that a rule looks at; a chain without rules needs none."""
    followers = []
    for name, chain in chains.items():
        own = [work for work in works if work.chain == name]
        eager = any(work.hold.finality is not None for work in own)
        if own:
            matchers = [work.matcher for work in own if work.matcher is not None]
            followers.append(Follower(chain, settings.chains[name], matchers, journal, eager=eager))
    return followers


def _executables(works: Sequence[Work]) -> list[Executable]:
    return [
        Executable(work.rule.name, work.rule.task_definition_id, work.chain, work.handler.body)
        for work in works
        if isinstance(work.rule.trigger, HttpTrigger)
    ]


async def _schedulers(works: Sequence[Work], journal: Journal) -> list[Stage]:
    """Make the one scheduler, where a rule needs it."""
    if not any(isinstance(work.rule.trigger, ScheduleTrigger) for work in works):
        await journal.adopt_schedules({}, 0)  # should one come back, it is a new one
        return []
    from listener.schedule import Scheduled, Scheduler, Timetable  # noqa: PLC0415 - time zones take memory

    scheduled = [
        Scheduled(work.rule, work.chain, Timetable.of(work.rule.trigger))
        for work in works
        if isinstance(work.rule.trigger, ScheduleTrigger)
    ]
    return [Scheduler(scheduled, journal)]
