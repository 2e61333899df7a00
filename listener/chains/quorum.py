"""
Asks several endpoints the same, and believes what enough of them say.

``quorum = k`` of a chain: the same hash for a number, the same logs for a block, from k endpoints. Those who say
otherwise than k others rest. As long as no answer has k voices, the chain waits.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from listener.chains.member import Member
from listener.chains.pool import Ask, Pool, Prefer
from listener.errors import ChainUnavailable

log = structlog.get_logger()

T = TypeVar("T")

PATIENCE = 8  # times that all are asked before the chain is told to wait
PAUSE_S = 0.25  # between two of them: a block is not everywhere at once


class Quorum:
    """Asks ``size`` endpoints of a pool."""

    def __init__(self, chain: str, pool: Pool, size: int) -> None:
        self.size = size
        self._chain = chain
        self._pool = pool

    async def agreed(self, ask: Ask[T], what: str, key: Callable[[T], Any], prefer: Prefer | None = None) -> T:
        """
        Return the answer on which enough endpoints agree.

        Args:
            ask: asks one of them; Missing where it has not got so far.
            what: what is asked for, as it is to be told.
            key: of an answer, what must be the same.
            prefer: says of an endpoint whether it is to be asked before the others.

        Raises:
            ChainUnavailable: too few could be asked, or they do not agree.
        """
        for left in reversed(range(PATIENCE)):
            votes = await self._vote(ask, key, prefer)
            if votes.most >= self.size:
                return votes.settle(what)
            if votes.asked < self.size:
                break
            if left:
                await asyncio.sleep(PAUSE_S)
        if len(votes.parties) > 1:
            for party in votes.parties:
                for member in party.members:
                    member.count_disagreement()
            log.warning("chain.endpoints_disagree", chain=self._chain, what=what, endpoints=votes.told)
            raise ChainUnavailable(f"chain {self._chain}: the endpoints do not agree on {what}; waiting until they do")
        reason = f": {votes.failure}" if votes.failure is not None else ""
        raise ChainUnavailable(
            f"chain {self._chain}: {what}: quorum = {self.size}, but only {votes.most} of the endpoints have it{reason}"
        )

    async def _vote(self, ask: Ask[T], key: Callable[[T], Any], prefer: Prefer | None) -> "_Votes[T]":
        """Ask as many as are needed, and more where they do not agree."""
        votes = _Votes(key)
        members = list(self._pool.candidates(critical=True, prefer=prefer))
        while members and votes.most < self.size:
            missing = self.size - votes.most
            part, members = members[:missing], members[missing:]
            async with asyncio.TaskGroup() as group:
                for member in part:
                    group.create_task(votes.take(member, ask))
        return votes

    async def heads(self, tag: str) -> int | None:
        """
        Return the highest number that enough endpoints have reached under a tag; None where they know none.

        All that are well are asked. One that rests, or is short of turns, would hold up the walk, and is asked only
        where they are too few.
        """
        numbers: list[int] = []
        failures: list[ChainUnavailable] = []

        async def one(member: Member) -> None:
            try:
                found = await self._pool.tagged(member, tag)
            except ChainUnavailable as error:
                failures.append(error)
                return
            if found is not None:
                numbers.append(found.number)

        now = time.monotonic()
        members = list(self._pool.candidates(critical=True))
        well = [member for member in members if member.ready(now)]
        for part in (well, [member for member in members if member not in well]):
            async with asyncio.TaskGroup() as group:
                for member in part:
                    group.create_task(one(member))
            if len(numbers) >= self.size:
                return sorted(numbers, reverse=True)[self.size - 1]
        if failures:
            raise failures[0]
        return None


@dataclass(slots=True)
class _Party(Generic[T]):
    """Those who say the same."""

    answer: T
    members: list[Member]


class _Votes(Generic[T]):
    def __init__(self, key: Callable[[T], Any]) -> None:
        self._key = key
        self._by_key: dict[Any, _Party[T]] = {}
        self.failure: ChainUnavailable | None = None
        self.asked = 0

    async def take(self, member: Member, ask: Ask[T]) -> None:
        """Ask one member."""
        self.asked += 1
        try:
            answer = await ask(member)
        except ChainUnavailable as error:
            self.failure = self.failure or error
            return
        self._by_key.setdefault(self._key(answer), _Party(answer, [])).members.append(member)

    @property
    def parties(self) -> list[_Party[T]]:
        """Who says the same as whom, the largest party first."""
        return sorted(self._by_key.values(), key=lambda party: -len(party.members))

    @property
    def most(self) -> int:
        """How many say the same at the most."""
        return max((len(party.members) for party in self._by_key.values()), default=0)

    @property
    def told(self) -> list[list[str]]:
        """Who says the same as whom, by name."""
        return [[member.name for member in party.members] for party in self.parties]

    def settle(self, what: str) -> T:
        """Let those who were outvoted rest, and return what the others say."""
        first, *outvoted = self.parties
        for party in outvoted:
            for member in party.members:
                member.contradicted(f"{len(first.members)} others say otherwise on {what}", time.monotonic())
        return first.answer
