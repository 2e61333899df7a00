"""
What makes claims rows where several processes share a journal: a random name for this one, and until when it holds.

The database's clock says when a claim has ended, so that the clocks of the machines need not agree. On SQLite one
process owns the journal: its claims are in its memory, and nothing here is written.
"""

import secrets
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import BigInteger, bindparam, cast, func, or_

from listener.journal.schema import tasks

LEASE_S = 15.0  # after this long without a renewal a claim is anybody's
RENEW_S = 5.0
_SECOND = 1_000_000  # in the journal's microseconds

_clock = cast(func.extract("epoch", func.clock_timestamp()) * _SECOND, BigInteger)
ends = _clock + bindparam("lease", type_=BigInteger)
lapsed = or_(tasks.c.claimed_until.is_(None), tasks.c.claimed_until < _clock)
mine = tasks.c.claimant == bindparam("me")
held: dict[str, Any] = {"claimant": bindparam("me"), "claimed_until": ends}
freed: dict[str, Any] = {"claimant": None, "claimed_until": None}


@dataclass(frozen=True, slots=True)
class Lease:
    """Who claims; ``claimant`` is None where it is the only one."""

    claimant: str | None = None

    @classmethod
    def new(cls) -> Self:
        """Make one that nobody ever had."""
        return cls(secrets.token_hex(16))

    @property
    def is_shared(self) -> bool:
        """Whether other processes may claim as well."""
        return self.claimant is not None

    @property
    def me(self) -> dict[str, Any]:
        """The parameter of ``mine``."""
        return {} if self.claimant is None else {"me": self.claimant}

    @property
    def bound(self) -> dict[str, Any]:
        """The parameters that statements for shared journals take, and others pass over."""
        return {**self.me, "lease": int(LEASE_S * _SECOND)} if self.is_shared else {}


ALONE = Lease()
