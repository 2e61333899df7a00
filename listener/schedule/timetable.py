"""
Which times a schedule names, in Unix seconds: pure arithmetic, the same on every machine and after every restart.

Cron expressions mean in their time zone what Debian's cron means. Where clocks go forward, a time that is skipped comes
at once after the gap; where they go back, a fixed time comes once, the first time. An expression with a star for hours
or minutes follows the clock on the wall: it goes on through both passes of a repeated hour.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim

from listener.config.trigger import ScheduleTrigger


@dataclass(frozen=True, slots=True)
class Timetable:
    """The planned times of one rule."""

    every_s: int | None = None
    cron: str | None = None
    timezone: str = "UTC"

    @classmethod
    def of(cls, trigger: ScheduleTrigger) -> "Timetable":
        """Take it from the rule's trigger."""
        every_s = None if trigger.every is None else int(trigger.every.total_seconds())
        return cls(every_s, trigger.cron, trigger.timezone or "UTC")

    @property
    def fingerprint(self) -> str:
        """Name it: the journal compares it to see a change."""
        meaning = json.dumps([self.every_s, self.cron, self.timezone])
        return hashlib.blake2b(meaning.encode(), digest_size=16).hexdigest()

    def next_after(self, moment: int) -> int:
        """Give the first planned time later than a moment."""
        if self.every_s is not None:
            return moment - moment % self.every_s + self.every_s
        zone = UTC if self.timezone == "UTC" else ZoneInfo(self.timezone)
        # In a repeated hour the library looks back to its first pass; a planned time lies ahead.
        times = (int(each.timestamp()) for each in CronSim(self.cron or "", datetime.fromtimestamp(moment, zone)))
        return next(each for each in times if each > moment)
