"""``[[rules]]``: when a task is due, and what runs then."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from listener.config.chain import Chain
from listener.config.duration import Duration
from listener.config.election import Election
from listener.config.hold import Held, Hold
from listener.config.name import Name
from listener.config.trigger import HttpTrigger, ScheduleTrigger, Trigger
from listener.rules.triggers import Blocks, EventTrigger

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def _module(value: str) -> str:
    if _MODULE.fullmatch(value) is None:
        raise ValueError(f'"{value}" is not a module; write its dotted name, such as "tasks.price"')
    return value


class Rule(Held):
    """A trigger bound to a handler."""

    name: Name
    task: Annotated[str, AfterValidator(_module)]
    task_definition_id: int = Field(ge=0, le=65535)  # uint16 on chain
    trigger: Trigger
    blocks: Blocks | None = None
    election: Election | None = None  # None: this operator performs every task
    on_reorg: Literal["rerun", "once"] | None = None  # None: by the kind of the trigger
    timeout_s: float = Field(default=30, gt=0)  # one execution
    max_attempts: int = Field(default=5, ge=1, le=10_000)  # executions; sends have no count
    max_age: Duration | None = None  # None: however old
    catch_up: Literal["all", "latest", "none"] = "all"  # of the triggers that an outage made late
    catch_up_after: Duration = timedelta(minutes=2)  # behind the newest head, by the blocks' time
    concurrency: int = Field(default=8, ge=1, le=10_000)
    self_check: bool = True  # where the task has `validate`
    settings: Mapping[str, Any] = Field(default_factory=dict)  # checked by the task module's Settings

    @model_validator(mode="after")
    def _catches_all_events_up(self) -> "Rule":
        if isinstance(self.trigger, EventTrigger):
            lines = [
                f"{key}: an event is never left out for a newer one, so a rule on events has no such key; remove it, "
                "or write max_age"
                for key in ("catch_up", "catch_up_after")
                if key in self.model_fields_set
            ]
            if lines:
                raise ValueError("\n".join(lines))
        return self

    @model_validator(mode="after")
    def _fits_its_trigger(self) -> "Rule":
        if self.is_asked:
            keys = ("blocks", "on_reorg", "confirmations", "finality")
            lines = [
                f"{key} is for tasks that a block makes, and those of type {self.trigger.type} are not; leave it out"
                for key in keys
                if getattr(self, key) is not None
            ]
            if isinstance(self.trigger, HttpTrigger):
                catching_up = self.model_fields_set & {"catch_up", "catch_up_after"}
                lines += [
                    f"{key}: a request is never late, so a rule of type http has no such key; remove it"
                    for key in sorted(catching_up)
                ]
            if lines:
                raise ValueError("\n".join(lines))
        return self

    @property
    def is_asked(self) -> bool:
        """Whether no block makes its tasks, so that neither a reorg nor confirmations concern them."""
        return isinstance(self.trigger, ScheduleTrigger | HttpTrigger)

    @property
    def reorg_policy(self) -> Literal["rerun", "once"]:
        """
        What a replacing block does.

        An intent that was sent already is not executed again because its transaction moved; a block or an epoch that
        was replaced is another one.
        """
        return self.on_reorg or ("once" if isinstance(self.trigger, EventTrigger) else "rerun")

    def hold(self, chain: Chain) -> Hold:
        """Give what its tasks wait for: the rule's own word, else the chain's, else nothing."""
        if self.is_asked:
            return Hold()
        return self.own_hold or chain.own_hold or Hold()
