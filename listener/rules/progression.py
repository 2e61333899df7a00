"""Arithmetic progressions of block numbers: every block or epoch rule fires on one."""

from dataclasses import dataclass
from math import gcd


@dataclass(frozen=True, slots=True)
class Progression:
    """All numbers n with ``n % step == residue``."""

    step: int
    residue: int

    @classmethod
    def of(cls, step: int, offset: int) -> "Progression":
        """Make the numbers n with ``(n - offset) % step == 0``."""
        return cls(step, offset % step)

    def holds(self, number: int) -> bool:
        """Tell whether a number belongs to it."""
        return number % self.step == self.residue

    def within(self, first: int, last: int) -> range:
        """Give its numbers in first..last, both included, without visiting the others."""
        return range(first + (self.residue - first) % self.step, last + 1, self.step)

    def meet(self, other: "Progression") -> "Progression | None":
        """Give the numbers that belong to both, None where there is none (Chinese remainder theorem)."""
        common = gcd(self.step, other.step)
        distance = other.residue - self.residue
        if distance % common:
            return None
        step = self.step * (other.step // common)
        inverse = pow(self.step // common, -1, other.step // common)
        residue = self.residue + self.step * (distance // common * inverse)
        return Progression(step, residue % step)
