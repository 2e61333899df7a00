"""The rules at work: each with its handler, chain and election; and what the journal has to know of them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from listener import config
from listener.chains import Chain, Finder, Reader
from listener.config.election import RoundRobin
from listener.handlers import Handler
from listener.journal import CatchUp, RuleFacts
from listener.model import TaskContext
from listener.proofs import Opened
from listener.rules.matcher import Matcher
from listener.runner import Work


def works_of(
    settings: config.Config,
    matchers: Sequence[Matcher],
    handlers: Mapping[str, Handler],
    chains: Mapping[str, Chain],
    opened: Opened,
) -> list[Work]:
    """Make a Work of each rule, in the order of the file."""
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
                proofs=opened.proofs,
                looked_up=opened.looked_up,
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


def read_chains(settings: config.Config, works: Iterable[Work]) -> set[str]:
    """Give the chains that rules look at, and that of the attestation contract where an election reads it."""
    listed = list(works)
    names = {work.chain for work in listed}
    if settings.attestation_chain is not None and any(isinstance(work.rule.election, RoundRobin) for work in listed):
        names.add(settings.attestation_chain.name)
    return names


def facts(settings: config.Config) -> dict[str, RuleFacts]:
    """Tell what the journal has to know of each rule, by name."""
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
