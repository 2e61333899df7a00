"""Each rule's election, made of what the operator wrote; those that read one contract share what they read."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from listener.chains import Chain
from listener.config import Rule
from listener.config.election import Fixed, RoundRobin
from listener.election.election import FixedElection, RoundRobinElection
from listener.election.moment import AttestationBlock
from listener.election.operators import Operators
from listener.errors import ConfigError
from listener.model import TaskContext

Elect = Callable[[TaskContext[Any]], Awaitable[str]]


class Elections:
    """Makes elections; ``loop`` is the stages', where the attestation contract is read."""

    def __init__(self, chain: Chain, address: str, loop: asyncio.AbstractEventLoop) -> None:
        self._chain = chain
        self._loop = loop
        self._operators = Operators(chain, address)
        self._blocks = AttestationBlock(chain)

    def round_robin(self, rule: Rule, election: RoundRobin, chain: str) -> Elect:
        """Make the election of a rule on some chain."""
        blocks = None if chain == self._chain.name else self._blocks
        return RoundRobinElection(election, self._operators, blocks, self._loop, by_number=rule.is_asked)


def election_of(rule: Rule, chain: str, elections: Elections | None, custom: Elect | None) -> Elect:
    """
    Give the election of a rule that has one.

    Args:
        rule: the rule.
        chain: the name of the chain that it looks at.
        elections: those of the attestation contract; the configuration has made sure of it where it is needed.
        custom: the user's own function, likewise.
    """
    if isinstance(rule.election, Fixed):
        return FixedElection(rule.election)
    if isinstance(rule.election, RoundRobin) and elections is not None:
        return elections.round_robin(rule, rule.election, chain)
    if custom is None:
        raise ConfigError(f"rule {rule.name}: it has no election that can be made")
    return custom
