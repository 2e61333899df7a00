"""
The daemon: opens the edges, builds the stages, and runs them in one TaskGroup until it is told to stop.

The first SIGINT or SIGTERM asks the stages to finish what is in hand; after the grace they are cancelled. A second
signal cancels at once, and the process exits 1.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Protocol

import aiohttp
import structlog

from listener import config, follower, memory, traces
from listener.aggregator import Aggregator
from listener.chains import Chain, Finder, Reader
from listener.config.election import RoundRobin
from listener.config.trigger import HttpTrigger, ScheduleTrigger
from listener.errors import ConfigError, StageEnded
from listener.follower import Follower
from listener.follower.rewind import Rewound
from listener.handlers import Handler
from listener.journal import CatchUp, Journal, RuleFacts
from listener.journal.keeper import Keeper
from listener.journal.readings import Readings
from listener.model import Claim, Judgement, TaskContext
from listener.pulse import Pulse
from listener.rules.matcher import Matcher
from listener.runner import Judge, Runner, Work
from listener.signing import Signer
from listener.submitter import Submitter
from listener.web import (
    Executable,
    Route,
    Server,
    attester_routes,
    listen,
    no_validate_route,
    performer_routes,
    validate_route,
)

log = structlog.get_logger()

CONNECT_S = 5.0  # for the websockets of a command that only needs one answer
GRACE_S = 20.0  # for what is in hand when asked to stop; container platforms kill after 30 s or more


class Stage(Protocol):
    """One loop of the daemon."""

    @property
    def name(self) -> str:
        """What it is called in logs."""
        ...

    async def run(self, stop: asyncio.Event) -> None:
        """Run until asked to stop; returning before is a fault."""
        ...


class Forced(BaseException):
    """A second signal: stop now."""


async def keep(stage: Stage, stop: asyncio.Event) -> None:
    """
    Run one stage.

    Raises:
        StageEnded: it returned before it was asked to.
    """
    await stage.run(stop)
    if not stop.is_set():
        raise StageEnded(f"stage {stage.name} ended unasked")


async def serve(stages: Sequence[Stage], stop: asyncio.Event, grace_s: float = GRACE_S) -> None:
    """Run all stages until ``stop``, then wait for them, at most ``grace_s``."""
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(keep(stage, stop), name=stage.name) for stage in stages]
        await stop.wait()
        _, late = await asyncio.wait(running, timeout=grace_s)
        for straggler in late:
            log.warning("stage.cut_off", stage=straggler.get_name(), grace_s=grace_s)
            straggler.cancel()


async def run(
    settings: config.Config,
    matchers: Sequence[Matcher],
    handlers: Mapping[str, Handler],
    *,
    role: str = "performer",
    resume_at: str | None = None,
) -> int:
    """
    Be the daemon until a signal.

    Args:
        settings: what the operator wrote.
        matchers: one for each rule whose tasks a block makes.
        handlers: by rule.
        role: performer, attester or both.
        resume_at: how to go on with a journal that was restored: latest or cursor.

    Returns:
        The exit code: 0 when asked to stop, 1 when a second signal cut it short.

    Raises:
        ListenerError: it cannot start, or cannot go on.
    """
    stop = asyncio.Event()
    serving = asyncio.current_task()
    loop = asyncio.get_running_loop()
    forced = False

    def on_signal(name: str) -> None:
        nonlocal forced
        if stop.is_set() and serving is not None:
            forced = True
            serving.cancel()
        log.info("daemon.stopping", signal=name, forced=forced)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number.name)
    try:
        async with AsyncExitStack() as edges:
            if role == "attester":
                stages = await attend(settings, matchers, handlers, edges)
            else:
                stages = await build(settings, matchers, handlers, edges, resume_at, attests=role == "both")
            memory.freeze()
            log.info("daemon.started", stages=[stage.name for stage in stages], rules=len(settings.rules))
            await serve(stages, stop)
    except asyncio.CancelledError:
        if not forced:
            raise
        return 1
    log.info("daemon.stopped")
    return 0


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
    journal = await Journal.open(settings.journal.place, _facts(settings))
    edges.push_async_callback(journal.close)
    sockets = _sockets(settings.http, edges)  # before anything is written: a port that is taken ends the start
    expired = await journal.resume(resume_at)
    if resume_at is not None:
        log.warning("journal.resumed", at=resume_at, expired=expired)
    running, ready = await journal.recover({rule.name: rule.max_attempts for rule in settings.rules})
    for gone in await journal.end_gone():
        log.warning("rule.gone", rule=gone.rule, chain=gone.chain, expired=gone.expired, reason=gone.reason)
    log.info("journal.opened", url=settings.journal.url.redacted, was_running=running, was_ready=ready)
    session = await edges.enter_async_context(_session())
    chains = {table.name: _chain(table, session) for table in settings.chains.values()}
    works = _works(settings, matchers, handlers, chains)
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
        more=[_attester(settings, works, runner.judge) if attests else no_validate_route()],
    )
    for name in _read_chains(settings, works):
        # Not in the followers: handlers that are finished after a stop still read over these lines.
        await edges.enter_async_context(chains[name].attended())
    return [
        *_tracers(readings, edges),
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


async def attend(
    settings: config.Config, matchers: Sequence[Matcher], handlers: Mapping[str, Handler], edges: AsyncExitStack
) -> list[Stage]:
    """Open an attester's edges and make its stages: no journal, no cursor, nothing that signs or sends."""
    memory.bound_recursion()
    sockets = _sockets(settings.http, edges)
    session = await edges.enter_async_context(_session())
    chains = {table.name: _chain(table, session) for table in settings.chains.values()}
    works = _works(settings, matchers, handlers, chains)
    judge = Judge()
    own = {work.chain for work in works if work.handler.validate is not None}
    stopping = asyncio.Event()
    routes = attester_routes(
        settings=settings,
        chains=[chain for name, chain in chains.items() if name in own],
        stopping=stopping,
        more=[_attester(settings, works, judge.judge)],
    )
    for name in own:
        await edges.enter_async_context(chains[name].attended())
    return [judge, Server(settings.http, *sockets, routes, stopping)]


async def rewind(settings: config.Config, name: str, to: int | None) -> Rewound:
    """
    Move a chain's cursor while no daemon runs.

    Raises:
        ListenerError: another process owns the journal, or the chain cannot be read.
    """
    async with AsyncExitStack() as edges:
        journal = await Journal.open(settings.journal.place, _facts(settings), alone=True)
        edges.push_async_callback(journal.close)
        await journal.recover({rule.name: rule.max_attempts for rule in settings.rules})
        session = await edges.enter_async_context(aiohttp.ClientSession())
        chain = _chain(settings.chains[name], session)
        await edges.enter_async_context(chain.attended())
        try:
            async with asyncio.timeout(CONNECT_S):
                await chain.opened()
        except TimeoutError:
            log.warning("websocket.connect_failed", chain=name, waited_s=CONNECT_S)
        return await follower.rewind(chain, journal, to)


def _sockets(settings: config.Http, edges: AsyncExitStack) -> tuple[socket.socket, socket.socket | None]:
    main = edges.enter_context(listen("bind", settings.bind))
    if settings.validate_bind is None:
        return main, None
    return main, edges.enter_context(listen("validate_bind", settings.validate_bind))


def _attester(
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


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60))


def _facts(settings: config.Config) -> dict[str, RuleFacts]:
    return {
        rule.name: RuleFacts(
            task_definition_id=rule.task_definition_id,
            once=rule.reorg_policy == "once",
            catch_up=_catch_up(rule),
            chain=settings.chain_of(rule).name,
        )
        for rule in settings.rules
    }


def _catch_up(rule: config.Rule) -> CatchUp | None:
    if rule.catch_up == "all" or rule.is_asked:  # what no block makes is not late by blocks: see schedule/
        return None
    return CatchUp(latest=rule.catch_up == "latest", after_s=int(rule.catch_up_after.total_seconds()))


def _chain(table: config.Chain, session: aiohttp.ClientSession) -> Chain:
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


def _read_chains(settings: config.Config, works: Sequence[Work]) -> set[str]:
    """Give the chains that rules look at, and that of the attestation contract where an election reads it."""
    names = {work.chain for work in works}
    if settings.attestation_chain is not None and any(isinstance(work.rule.election, RoundRobin) for work in works):
        names.add(settings.attestation_chain.name)
    return names


def _works(
    settings: config.Config, matchers: Sequence[Matcher], handlers: Mapping[str, Handler], chains: Mapping[str, Chain]
) -> list[Work]:
    loop = asyncio.get_running_loop()
    elect = _elections(settings, chains, handlers)
    works = []
    by_rule = {matcher.name: matcher for matcher in matchers}
    for rule in settings.rules:
        table = settings.chain_of(rule)
        chain = chains[table.name]
        works.append(
            Work(
                rule=rule,
                chain=table.name,
                matcher=by_rule.get(rule.name),
                handler=handlers[rule.name],
                hold=rule.hold(table),
                chain_id=chain.chain_id,
                reader=Reader(chain, loop),
                finder=Finder(chain, by_rule.get(rule.name), loop),
                elect=elect.get(rule.name),
            )
        )
    return works


def _elections(
    settings: config.Config, chains: Mapping[str, Chain], handlers: Mapping[str, Handler]
) -> Mapping[str, Callable[[TaskContext[Any]], Awaitable[str]]]:
    """Make the elections of the rules that have one."""
    electing = [rule for rule in settings.rules if rule.election is not None]
    if not electing:
        return {}
    from listener.election import Elections, election_of  # noqa: PLC0415 - few need it

    elections = None
    if settings.attestation is not None and settings.attestation_chain is not None:
        chain = chains[settings.attestation_chain.name]
        elections = Elections(chain, settings.attestation.address, asyncio.get_running_loop())
    return {
        rule.name: election_of(rule, settings.chain_of(rule).name, elections, handlers[rule.name].elect)
        for rule in electing
    }


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


def _tracers(readings: Readings, edges: AsyncExitStack) -> list[Stage]:
    """Make the stage that sends traces, where the environment asks for them; what is in its way is no fault."""
    try:
        if not config.traces_wanted(os.environ):
            return []
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra

        from listener.tracer import Tracer  # noqa: PLC0415

        tracer = Tracer(traces.open_notebook(), readings, OTLPSpanExporter())
    except ImportError:
        log.warning("traces.unavailable", reason="the extra is not installed: pip install 'listener[otel]'")
        return []
    except ValueError as error:
        traces.close_notebook()
        log.warning("traces.unavailable", reason=str(error))
        return []
    edges.callback(traces.close_notebook)
    edges.push_async_callback(tracer.close)
    return [tracer]


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
