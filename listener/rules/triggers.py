"""
The ``trigger`` tables that blocks fire, and ``blocks``: what they say, and on which blocks.

Triggers that no block makes are in ``config/trigger.py``.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from listener.rules.progression import Progression
from listener.rules.table import LARGEST, Table


class Blocks(Table):
    """A criterion on the block number: what it excludes leaves no row."""

    every: int = Field(default=1, ge=1, le=LARGEST)
    offset: int = Field(default=0, ge=0, le=LARGEST)

    @property
    def numbers(self) -> Progression:
        """The block numbers that pass."""
        return Progression.of(self.every, self.offset)


class BlockTrigger(Table):
    """Fires on each block where ``(number - offset) % every == 0``."""

    type: Literal["block"] = "block"
    chain: str | None = None  # None: the only chain
    every: int = Field(default=1, ge=1, le=LARGEST)
    offset: int = Field(default=0, ge=0, le=LARGEST)

    @property
    def numbers(self) -> Progression:
        """The block numbers on which it fires."""
        return Progression.of(self.every, self.offset)


class EpochTrigger(Table):
    """Fires on the first or on the last block of each epoch of ``length`` blocks."""

    type: Literal["epoch"] = "epoch"
    chain: str | None = None  # None: the only chain
    length: int = Field(ge=1, le=LARGEST)
    at: Literal["start", "end"] = "start"

    @property
    def numbers(self) -> Progression:
        """The block numbers on which it fires."""
        return Progression.of(self.length, 0 if self.at == "start" else self.length - 1)

    def epoch(self, number: int) -> int:
        """Give the number of the epoch that a block belongs to; the first is 0."""
        return number // self.length


class EventTrigger(Table):
    """Fires on each log of one event of one contract that meets the conditions in ``where``."""

    type: Literal["event"] = "event"
    contract: str
    event: str  # "Name", or "Name(uint256,address)" where the ABI holds several of one name
    where: Mapping[str, Any] = Field(default_factory=dict)  # typed from the ABI, see where.py
