"""How long a journaled task waits for its block to be safe from a reorg."""

from dataclasses import dataclass
from typing import Literal

from pydantic import Field, model_validator

from listener.rules.table import LARGEST, Table


@dataclass(frozen=True, slots=True)
class Hold:
    """
    What a task waits for: the head at its block + ``confirmations``, or the chain's block of that finality.

    ``finality = "latest"`` is the same as no confirmations, and stands here as that.
    """

    confirmations: int = 0
    finality: Literal["safe", "finalized"] | None = None


class Held(Table):
    """The two keys of a hold, in a chain's table for its rules and in a rule's own."""

    confirmations: int | None = Field(default=None, ge=0, le=LARGEST)
    finality: Literal["latest", "safe", "finalized"] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> "Held":
        if self.confirmations is not None and self.finality is not None:
            raise ValueError("confirmations and finality are two answers to one question; leave one of them out")
        return self

    @property
    def own_hold(self) -> Hold | None:
        """What the table itself says; None where it says nothing."""
        if self.finality in ("safe", "finalized"):
            return Hold(finality=self.finality)
        if self.confirmations is None and self.finality is None:
            return None
        return Hold(confirmations=self.confirmations or 0)
