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


def election_of(rule: Rule, chain: str, elections: Elections | None, custom: Elect | None) -> Elect | None:
    """
    Give a rule's election; None where every task is ours.

    Args:
        rule: the rule.
        chain: the name of the chain that it looks at.
        elections: None where there is no attestation contract.
        custom: the user's own function.
    """
    if isinstance(rule.election, Fixed):
        return FixedElection(rule.election)
    if isinstance(rule.election, RoundRobin) and elections is not None:
        return elections.round_robin(rule, rule.election, chain)
    return custom
