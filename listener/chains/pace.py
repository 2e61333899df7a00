"""
How many calls a second an endpoint takes: as many as we have, until it says that this is too much.

Then half as many. From there the rate doubles every second until it is refused again; after that it grows by one call a
second, so that it settles just below what is allowed.
"""

import asyncio
import random
import time

SLOWEST = 1.0  # calls a second
FREE_AT = 200.0  # calls a second from which nothing is held back any more
GAIN = 1.0  # calls a second that a second without a refusal adds
FIRST_PAUSE_S = 0.5  # where the endpoint does not say how long
LONGEST_PAUSE_S = 60.0
LONGEST_WAIT_S = 5.0  # while the endpoint wants to be left alone; who would wait longer is told so at once


class Pace:
    """The rate of one endpoint. All times are those of a monotonic clock."""

    def __init__(self) -> None:
        self.rate: float | None = None  # None: not limited so far
        self._steady_from = FREE_AT / 2  # the rate from which it grows slowly
        self._next_at = 0.0
        self._paused_until = 0.0
        self._gate = asyncio.Lock()
        self._waiting = 0
        self._cut_at = 0.0
        self._refusals = 0  # in a row
        self._second_at = 0.0
        self._in_second = 0
        self._in_last = 0

    def wait_s(self, now: float) -> float:
        """Return about how long a call would have to wait."""
        return 0.0 if self.rate is None else max(self._next_at - now, 0.0) + self._waiting / self.rate

    async def turn(self) -> float:
        """Wait for a turn; return 0, or how long is left where that is too long to wait."""
        now = time.monotonic()
        if now - self._second_at >= 1.0:
            self._in_last = self._in_second if now - self._second_at < 2.0 else 0
            self._second_at, self._in_second = now, 0
        self._in_second += 1
        if self.rate is None:
            return 0.0
        self._waiting += 1
        try:
            async with self._gate:
                while (wait_s := self._next_at - time.monotonic()) > 0:
                    if self._paused_until - time.monotonic() > LONGEST_WAIT_S:
                        return wait_s
                    await asyncio.sleep(wait_s)
                self._next_at = time.monotonic() + 1.0 / (self.rate or FREE_AT)
        finally:
            self._waiting -= 1
        return 0.0

    def refused(self, now: float, asked_at: float, retry_after_s: float | None) -> None:
        """Slow down; what was asked before the last time slows down no more."""
        if asked_at >= self._cut_at:
            self._cut_at = now
            seen = float(max(self._in_second, self._in_last))
            limited = self.rate is not None
            self.rate = max(SLOWEST, min(seen, self.rate or FREE_AT) / 2)
            if limited:  # so that the rate at which it was refused was ours, and says something
                self._steady_from = self.rate
            self._refusals += 1
            own_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._refusals - 1, 10))
            pause_s = own_s * random.uniform(0.5, 1.0) if retry_after_s is None else retry_after_s  # noqa: S311 - jitter
            self._paused_until = self._next_at = now + pause_s
        elif retry_after_s is not None:
            self._paused_until = self._next_at = max(self._next_at, now + retry_after_s)

    def answered(self) -> None:
        """Speed up a little."""
        self._refusals = 0
        if self.rate is not None:
            self.rate += 1.0 if self.rate < self._steady_from else GAIN / self.rate
            if self.rate >= FREE_AT:
                self.rate = None
