"""
The ``trigger`` table of a rule: one of the block triggers of ``rules/triggers.py``, or one that no block makes.

A schedule fires at planned times, an HTTP trigger when it is asked; both read at their chain's cursor.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from listener.config.duration import Duration
from listener.config.kind import of_type
from listener.rules.nearest import suggestion
from listener.rules.table import Table
from listener.rules.triggers import BlockTrigger, EpochTrigger, EventTrigger

_FIELDS = 5
_CRON = 'write minute, hour, day of month, month and day of week, such as "*/5 * * * *"'


def _cron(value: str) -> str:
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - most configurations have none

    if len(value.split()) != _FIELDS:
        raise ValueError(f'"{value}" is not a cron expression: it has {len(value.split())} fields; {_CRON}')
    try:
        next(CronSim(value, datetime(2000, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        said = str(error).removeprefix("Bad ")
        raise ValueError(f'"{value}" is not a cron expression: the {said} is wrong; {_CRON}') from error
    except StopIteration as error:
        raise ValueError(f'"{value}" names no date that comes; {_CRON}') from error
    return value


def _timezone(value: str) -> str:
    import zoneinfo  # noqa: PLC0415 - as above

    try:
        zoneinfo.ZoneInfo(value)
    except Exception as error:  # what it raises depends on which file the name leads to
        raise ValueError(f'unknown time zone "{value}"{suggestion(value, zoneinfo.available_timezones())}') from error
    return value


class ScheduleTrigger(Table):
    """Fires every so often, counted from the Unix epoch, or when a cron expression says so in its time zone."""

    type: Literal["schedule"] = "schedule"
    chain: str | None = None  # None: the only chain
    every: Duration | None = None
    cron: Annotated[str, AfterValidator(_cron)] | None = None
    timezone: Annotated[str, AfterValidator(_timezone)] | None = None  # None: UTC

    @model_validator(mode="after")
    def _one_of_them(self) -> "ScheduleTrigger":
        if (self.every is None) == (self.cron is None):
            raise ValueError('write one of every and cron, such as every = "30s" or cron = "*/5 * * * *"')
        if self.timezone is not None and self.cron is None:
            raise ValueError("timezone is for cron; every counts from the Unix epoch wherever you are; leave it out")
        return self


class HttpTrigger(Table):
    """Fires when ``POST /task/execute`` names the rule's task definition."""

    type: Literal["http"] = "http"
    chain: str | None = None  # None: the only chain


Trigger = Annotated[
    BlockTrigger | EpochTrigger | EventTrigger | ScheduleTrigger | HttpTrigger,
    Field(discriminator="type"),
    of_type("block", "epoch", "event", "schedule", "http"),
]
