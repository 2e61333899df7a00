"""A rule made ready to match: names resolved, event and conditions typed, arithmetic done."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from listener.model import Block, Log, Occasion
from listener.rules.filter import EventFilter
from listener.rules.progression import Progression
from listener.rules.triggers import Blocks, BlockTrigger, EpochTrigger, EventTrigger


@dataclass(frozen=True)
class Matcher:
    """
    One rule, as the walk asks it.

    ``since`` is the block from which its present trigger applies: the journal knows it and
    ``dataclasses.replace`` sets it.
    """

    name: str
    chain: str
    trigger: BlockTrigger | EpochTrigger | EventTrigger
    blocks: Blocks | None = None
    filter: EventFilter | None = None  # event rules
    since: int = 0

    def applies(self, number: int) -> bool:
        """Tell whether the rule looks at this block at all."""
        return number >= self.since and (self.blocks is None or self.blocks.numbers.holds(number))

    def occasions(self, block: Block, logs: Sequence[Log]) -> Iterator[Occasion]:
        """Give the rule's triggers in one block, from its logs in the order of their index."""
        if self.filter is not None:
            if self.applies(block.number):
                for log in logs:
                    if self.filter.matches(log):
                        yield Occasion(self.name, self.trigger.type, block, log=log)
        elif block.number >= self.since and self._numbers is not None and self._numbers.holds(block.number):
            yield Occasion(self.name, self.trigger.type, block, epoch=self._epoch(block.number))

    def boundaries(self, first: int, last: int) -> Iterable[int]:
        """
        Give the blocks of first..last, both included, on which a block or epoch rule fires.

        Takes as long as there are such blocks, not as the range is wide. An event rule has none.
        """
        return () if self._numbers is None else self._numbers.within(max(first, self.since), last)

    @property
    def fingerprint(self) -> str:
        """
        Name the trigger, its conditions and its block criterion: the journal compares it to see a change.

        Defaults are left out, so that a key which a later version adds does not look like a change of every rule.
        Where the contract stands and how its ABI reads are not part of it: they are not the rule's.
        """
        trigger: dict[str, Any] = self.trigger.model_dump(mode="json", exclude_defaults=True)
        meaning = {
            "trigger": trigger | {"type": self.trigger.type, "chain": self.chain},
            "blocks": None if self.blocks is None else self.blocks.model_dump(mode="json", exclude_defaults=True),
        }
        canonical = json.dumps(meaning, sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()

    @cached_property
    def _numbers(self) -> Progression | None:
        """The blocks on which a block or epoch rule fires; None: none, or an event rule."""
        if isinstance(self.trigger, EventTrigger):
            return None
        numbers = self.trigger.numbers
        return numbers if self.blocks is None else numbers.meet(self.blocks.numbers)

    def _epoch(self, number: int) -> int | None:
        return self.trigger.epoch(number) if isinstance(self.trigger, EpochTrigger) else None
