"""Which kills a run makes: every named step at its first and at a later time, the rest by chance."""

import random
from dataclasses import dataclass

from listener.testing.crash import POINTS

FIRST = ("begin.before_commit", "begin.committed")  # a chain begins once, with the first daemon that writes it
LATER = 12  # as often as a step is passed at the most before the kill


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: at a step, or without one at any moment."""

    point: str | None
    times: int = 1

    @property
    def argument(self) -> str | None:
        """The kill as ``listener.testing.crash`` takes it."""
        return None if self.point is None else f"{self.point}:{self.times}"


def plan(count: int, chance: random.Random) -> list[Kill]:
    """Choose so many kills; with few, the first time of each step comes before all else."""
    points = [point for point in POINTS if point not in FIRST]
    once = [Kill(point) for point in points]
    later = [Kill(point, chance.randint(2, LATER)) for point in points]
    chance.shuffle(once)
    chance.shuffle(later)
    kills = [*(Kill(point) for point in FIRST), *once, *later][:count]
    while len(kills) < count:
        at_a_step = Kill(chance.choice(points), chance.randint(1, LATER))
        kills.append(at_a_step if chance.random() < 0.6 else Kill(None))
    rest = kills[len(FIRST) :]
    chance.shuffle(rest)
    return [*kills[: len(FIRST)], *rest]
