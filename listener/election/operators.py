"""
Reads the operators from the attestation contract at one block, whichever generation it is.

A thousand tasks of a block make one read (``answers.py``). Runs on the stages' loop, where the connections live.
"""

import asyncio
from typing import Any, Protocol

from listener.chains.wire import RpcError
from listener.election import layout
from listener.election.answers import Answers
from listener.errors import ChainUnavailable, ElectionFailed

AT_ONCE = 16  # ids asked for together
MOST_IDS = 10_000  # more than any AVS has: an answer beyond is not one
REVERTED = 3  # JSON-RPC's code for it; older nodes say it in words only

At = dict[str, str] | str  # a block, as eth_call names it


class Calls(Protocol):
    """What is asked: a Chain, or what looks like one."""

    name: str

    async def call(self, method: str, params: list[Any]) -> Any: ...  # noqa: D102


class Reverted(Exception):
    """The contract has no such view, or its answer is a revert."""


class Operators:
    """The operators of one attestation contract."""

    def __init__(self, chain: Calls, address: str) -> None:
        self._chain = chain
        self._address = address
        self._lists: Answers[tuple[str, ...]] = Answers()
        self._counts: Answers[int] = Answers()
        self._ids: Answers[str] = Answers()

    async def active(self, at: At) -> tuple[str, ...]:
        """
        Return the active operators by ascending id.

        Raises:
            ElectionFailed: they could not be read.
        """
        return await self._lists.get(str(at), lambda: self._active(at))

    async def of_id(self, at: At, turn: int) -> str:
        """
        Return the operator with the id ``turn % numOfOperators + 1``, registered still or not; nobody's where none is.

        Raises:
            ElectionFailed: it could not be read.
        """
        count = await self._counts.get(str(at), lambda: self._count(at))
        if count == 0:
            return layout.NOBODY
        operator_id = turn % count + 1
        return await self._ids.get((operator_id, str(at)), lambda: self._payment_address(at, operator_id))

    async def _active(self, at: At) -> tuple[str, ...]:
        try:
            return layout.active_operators(await self._view(at, layout.ACTIVE_OPERATORS))
        except Reverted:
            return await self._active_by_id(at)

    async def _active_by_id(self, at: At) -> tuple[str, ...]:
        """Go through the ids of a contract that has no list: the active ones are those that their address leads to."""
        wanted = await self._count(at)
        found: list[str] = []
        for first in range(1, MOST_IDS, AT_ONCE):
            if len(found) >= wanted:
                break
            ids = range(first, first + AT_ONCE)
            operators = await asyncio.gather(*(self._payment_address(at, each) for each in ids))
            known = [pair for pair in zip(ids, operators, strict=True) if pair[1] != layout.NOBODY]
            are_active = await asyncio.gather(*(self._is_active(at, *pair) for pair in known))
            found += [operator for (_, operator), active in zip(known, are_active, strict=True) if active]
            if len(known) < AT_ONCE:
                break
        if len(found) != wanted:
            raise ElectionFailed(f"numOfOperators is {wanted}, and {len(found)} ids lead to an active operator")
        return tuple(found)

    async def _is_active(self, at: At, operator_id: int, operator: str) -> bool:
        try:
            return layout.number(await self._view(at, layout.ID_BY_ADDRESS, operator)) == operator_id
        except Reverted:
            return False

    async def _count(self, at: At) -> int:
        try:
            return layout.number(await self._view(at, layout.NUM_OF_OPERATORS))
        except Reverted:
            pass
        try:
            return layout.number(await self._view(at, layout.NUM_OF_ACTIVE_OPERATORS))
        except Reverted as error:
            raise ElectionFailed(
                f"{self._address} on {self._chain.name} has none of the views that tell of operators; "
                "is it the attestation contract?"
            ) from error

    async def _payment_address(self, at: At, operator_id: int) -> str:
        try:
            return layout.payment_address(await self._view(at, layout.PAYMENT_DETAIL, operator_id))
        except Reverted as error:
            raise ElectionFailed(f"getOperatorPaymentDetail({operator_id}) was reverted") from error

    async def _view(self, at: At, selector: str, *arguments: int | str) -> bytes:
        data = selector + "".join(map(layout.word, arguments))
        try:
            answer = await self._chain.call("eth_call", [{"to": self._address, "data": data}, at])
        except RpcError as error:
            if error.code == REVERTED or "revert" in str(error).lower():
                raise Reverted from error
            raise ElectionFailed(f"the operators cannot be read: {error}") from error
        except ChainUnavailable as error:
            raise ElectionFailed(f"the operators cannot be read: {error}") from error
        if not isinstance(answer, str) or not answer.startswith("0x"):
            raise ElectionFailed(f"chain {self._chain.name}: eth_call was not answered with bytes")
        if answer == "0x":
            raise ElectionFailed(f"there is no contract at {self._address} on {self._chain.name} at that block")
        try:
            return bytes.fromhex(answer[2:])
        except ValueError as error:
            raise ElectionFailed(f"chain {self._chain.name}: eth_call was not answered with bytes") from error
