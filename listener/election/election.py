"""
Whose turn it is. Elections are asked on the handlers' loop, and cross to the stages' loop for what they read.

A read that fails is no answer: it raises ``ElectionFailed``, and the task is tried again.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from listener.chains.wire import quantity
from listener.config.election import Fixed, RoundRobin
from listener.election.layout import NOBODY
from listener.election.moment import AttestationBlock
from listener.election.operators import At, Operators
from listener.errors import ElectionFailed
from listener.model import TaskContext, Trigger


class RoundRobinElection:
    """
    Elects among the attestation contract's operators.

    Args:
        blocks: finds the attestation chain's block for a time; None where it is the trigger's own chain.
        by_number: read at the block's number, not its hash: what no block made outlives the block that it names.
        loop: the stages'.
    """

    def __init__(
        self,
        election: RoundRobin,
        operators: Operators,
        blocks: AttestationBlock | None,
        loop: asyncio.AbstractEventLoop,
        *,
        by_number: bool,
    ) -> None:
        self._election = election
        self._operators = operators
        self._blocks = blocks
        self._loop = loop
        self._by_number = by_number

    async def __call__(self, context: TaskContext[Any]) -> str:
        """
        Return the elected operator's address, nobody's where there is none.

        Raises:
            ElectionFailed: it cannot be known now.
        """
        reading = self._elect(context.trigger)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(reading, self._loop))

    async def _elect(self, trigger: Trigger) -> str:
        try:
            return await self._elected_at(await self._block_of(trigger), trigger)
        except ElectionFailed:
            if self._blocks is not None:
                self._blocks.forget(trigger.block_timestamp)
            raise

    async def _elected_at(self, at: At, trigger: Trigger) -> str:
        if self._election.list == "ids":
            return await self._operators.of_id(at, trigger.block_number // self._election.span)
        return _in_turn(await self._operators.active(at), trigger, self._election.span)

    async def _block_of(self, trigger: Trigger) -> At:
        if self._blocks is not None:
            block = await self._blocks.at(trigger.block_timestamp)
            return {"blockHash": "0x" + block.hash.hex()}
        if self._by_number:
            return quantity(trigger.block_number)
        return {"blockHash": "0x" + bytes(trigger.block_hash).hex()}


class FixedElection:
    """Elects among the operators that the configuration names."""

    def __init__(self, election: Fixed) -> None:
        self._election = election

    async def __call__(self, context: TaskContext[Any]) -> str:
        """Return the elected operator's address."""
        return _in_turn(self._election.operators, context.trigger, self._election.span)


def _in_turn(operators: Sequence[str], trigger: Trigger, span: int) -> str:
    return operators[trigger.block_number // span % len(operators)] if operators else NOBODY
