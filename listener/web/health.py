"""
Whether the daemon lives, and whether it can do its work.

It lives as long as this is answered: the server runs on the loop of all stages, and ends with the first that ends. It
is ready when nothing stands between a block and the aggregator.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from listener.aggregator import Aggregator
from listener.chains import Chain
from listener.errors import AggregatorUnavailable
from listener.journal import Journal
from listener.web.envelope import envelope
from listener.web.route import Route

FRESH_S = 5.0  # what was found is said again for so long: who asks often opens no connections
ANSWER_S = 2.0  # for a chain to answer the first time
NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: why it is not ready, None where it is, and what else is to be known."""

    check: str
    reason: str | None
    facts: dict[str, Any] = field(default_factory=dict)


Check = Callable[[], Awaitable[Finding]]


class Health:
    """
    Answers ``/health/live`` and ``/health/ready``.

    Args:
        checks: what has to be well for ready.
        stopping: set when the daemon is asked to stop, from when on it is not ready.
        healthcheck: whether GET /healthcheck is answered like live.
    """

    def __init__(self, checks: Sequence[Check], stopping: asyncio.Event, *, healthcheck: bool) -> None:
        self._checks = checks
        self._stopping = stopping
        paths = ["/health/live", *(["/healthcheck"] if healthcheck else [])]
        self.routes = [
            *(
                Route(
                    method="GET",
                    path=path,
                    handler=self._live,
                    unlimited=True,
                    for_attesters=path == "/healthcheck",
                    summary="Whether the daemon runs.",
                )
                for path in paths
            ),
            Route(
                method="GET",
                path="/health/ready",
                handler=self._ready,
                unlimited=True,
                summary="Whether nothing stands between a block and the aggregator; 503 with the reasons.",
                statuses=(503,),
            ),
        ]

    async def _live(self, _request: web.Request) -> web.Response:
        return envelope(data=True)

    async def _ready(self, _request: web.Request) -> web.Response:
        found = [await check() for check in self._checks]
        if self._stopping.is_set():
            found.append(Finding("daemon", "it was asked to stop"))
        reasons = [f"{each.check}: {each.reason}" for each in found if each.reason is not None]
        checks = [{"check": each.check, "reason": each.reason, **each.facts} for each in found]
        data = {"ready": not reasons, "reasons": reasons, "checks": checks}
        return envelope(data, "; ".join(reasons) or None, error=bool(reasons), status=503 if reasons else 200)


def chain_check(chain: Chain, journal: Journal, max_lag_s: float) -> Check:
    """Check that a chain can be read, is not halted, and is walked to less than ``max_lag_s`` behind its head."""

    async def check() -> Finding:
        head, cursor = chain.head, journal.cursors.get(chain.name)
        facts: dict[str, Any] = {
            "head": None if head is None else head.number,
            "cursor": None if cursor is None else cursor.number,
            "lag": None,
            "lag_s": None,
        }
        if head is not None and cursor is not None:
            facts["lag"] = max(head.number - cursor.number, 0)
            walked_to = journal.walked_to.get(chain.name) if facts["lag"] else head.timestamp
            facts["lag_s"] = None if walked_to is None else max(head.timestamp - walked_to, 0)
        return Finding(f"chain {chain.name}", _fault(chain, journal, max_lag_s, facts["lag"], facts["lag_s"]), facts)

    return check


def _fault(chain: Chain, journal: Journal, max_lag_s: float, lag: int | None, lag_s: int | None) -> str | None:
    if chain.name in journal.halted:
        return f"halted: {journal.halted[chain.name]}"
    unread = _unread(chain, max_lag_s)
    if unread is not None:
        return unread
    if chain.name not in journal.looked or lag is None:
        return "not compared with the journal yet"
    if lag > 1 and (lag_s is None or lag_s > max_lag_s):  # one block behind is on its way, however slow the chain
        return f"{lag} blocks behind its head" + ("" if lag_s is None else f", {lag_s} s")
    return None


def reading_check(chain: Chain, max_lag_s: float) -> Check:
    """Check that a chain can be read, where nobody follows it: as long as it has told nothing, it is asked."""
    lock = asyncio.Lock()
    asked_at = float("-inf")

    async def check() -> Finding:
        nonlocal asked_at
        async with lock:
            if chain.told_at == NEVER and time.monotonic() - asked_at > FRESH_S:
                asked_at = time.monotonic()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ANSWER_S):
                        await chain.best_head(0)
        return Finding(f"chain {chain.name}", _unread(chain, max_lag_s))

    return check


def _unread(chain: Chain, max_lag_s: float) -> str | None:
    """Say why a chain cannot be read."""
    if not chain.connected:
        return "no endpoint is connected"
    silent_s = time.monotonic() - chain.told_at
    if chain.told_at == NEVER:
        return "no endpoint has told its newest block yet"
    if silent_s > max_lag_s:
        return f"no endpoint has told its newest block for {silent_s:.0f} s"
    return None


def aggregator_check(aggregator: Aggregator) -> Check:
    """Check that the aggregator can be reached."""
    lock = asyncio.Lock()
    known: Finding | None = None
    looked_at = float("-inf")

    async def check() -> Finding:
        nonlocal known, looked_at
        async with lock:
            if known is None or time.monotonic() - looked_at > FRESH_S:
                known, looked_at = await _reached(aggregator), time.monotonic()
            return known

    return check


async def _reached(aggregator: Aggregator) -> Finding:
    try:
        await aggregator.reach()
    except AggregatorUnavailable as error:
        return Finding("aggregator", str(error))
    return Finding("aggregator", None)


def key_check(address: str) -> Check:
    """Say whose key signs: it was read, and compared with its address, before the daemon started."""

    async def check() -> Finding:
        return Finding("key", None, {"performer": address})

    return check
