"""
Looks after one endpoint: whether it is well again after a rest, how far it is, and whether a silent line is deaf.

All of it is rare. An endpoint that works and a line that tells of heads cost a timer.
"""

import asyncio
import contextlib
import time
from typing import Protocol

import structlog

from listener.chains import silence
from listener.chains.member import Member
from listener.chains.websocket import WebsocketEndpoint
from listener.errors import ChainUnavailable
from listener.model import Block

log = structlog.get_logger()

LOOK_S = 30.0  # between two looks at an endpoint that says nothing by itself, at the most
WRONG_CHAIN_S = 60.0  # between two looks at an endpoint of another chain
SHORTEST_S = 0.05


class Company(Protocol):
    """The pool, as one who attends to a member needs it."""

    members: list[Member]

    def told(self, member: Member, head: Block) -> None:
        """Take note of a member's newest block."""
        ...

    async def look(self, member: Member) -> bool:
        """Have it prove its chain and tell its head; False where it does not answer."""
        ...


class Attendant:
    """Looks after one member of a pool."""

    def __init__(self, pool: Company, member: Member, look_s: float) -> None:
        self._pool = pool
        self._member = member
        self._look_s = min(look_s, LOOK_S)
        self._looked_at = time.monotonic()

    async def run(self) -> None:
        """Attend until cancelled."""
        self._member.attended = True
        try:
            while True:
                self._member.stirred.clear()
                now = time.monotonic()
                due_at = self._due_at()
                if due_at > now:
                    # Not for long with a line: by what it tells, the chain may turn out to be a quick one.
                    await self._rest(min(due_at - now, silence.SHORTEST_S) if self._is_line else due_at - now)
                else:
                    await self._attend(now)
        finally:
            self._member.attended = False
            self._member.held = False

    def _due_at(self) -> float:
        """Return when there is something to do; what happens meanwhile stirs."""
        member = self._member
        if not member.endpoint.connected:
            return float("inf")
        if member.wrong_chain is not None:
            return self._looked_at + WRONG_CHAIN_S
        if member.held:
            return member.health.rest_until
        due_at = self._looked_at + self._look_s
        return min(due_at, member.silence.over_at) if self._is_line else due_at

    @property
    def _is_line(self) -> bool:
        return isinstance(self._member.endpoint, WebsocketEndpoint) and self._member.endpoint.connected

    async def _rest(self, pause_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if pause_s == float("inf") else max(pause_s, SHORTEST_S)):
                await self._member.stirred.wait()

    async def _attend(self, now: float) -> None:
        member = self._member
        line = member.endpoint
        if isinstance(line, WebsocketEndpoint) and not member.held and now >= member.silence.over_at:
            await self._check(line, now)
            return
        self._looked_at = now
        well = await self._pool.look(member)
        if not member.held:
            return
        if well:
            member.held = False
            log.info("endpoint.recovered", endpoint=member.name)
        else:
            member.rest(time.monotonic())

    async def _check(self, line: WebsocketEndpoint, now: float) -> None:
        """Ask others, or the line itself, whether blocks came that it did not tell of; if so it is deaf."""
        heard = self._member.silence
        heard.looked(now)
        newest = await self._newest(-1 if heard.told is None else heard.told)
        if heard.told is not None and newest > heard.told:
            line.drop("blocks came that it did not tell of")
        if newest >= 0:
            heard.told = newest if heard.told is None else max(newest, heard.told)

    async def _newest(self, told: int) -> int:
        """Find a block above ``told``; the number of the newest that was found, or -1."""
        others = [each for each in self._pool.members if each is not self._member and each.usable]
        newest = -1
        for each in (*(other for other in others if other.ready(time.monotonic())), self._member):
            try:
                head = await each.ask_head()
            except ChainUnavailable:
                continue
            if head is not None:
                self._pool.told(each, head)
                newest = max(newest, head.number)
            if newest > told >= 0:
                break
        return newest
