"""Which kills a run makes: every named step at its first and at a later time, the rest by chance."""

import random
from collections.abc import Collection
from dataclasses import dataclass

from listener.testing.crash import POINTS

FIRST = ("begin.before_commit", "begin.committed")  # a chain begins once, with the first daemon that writes it
AT_START = ("recover.before_commit", "recover.committed")  # once in the life of a process, or never
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


def plan(count: int, seed: int) -> list[Kill]:
    """Choose so many kills; with few, the first time of each step comes before all else."""
    chance = random.Random(seed)  # noqa: S311 - chosen to be repeated
    points = [point for point in POINTS if point not in FIRST]
    once = [Kill(point) for point in points]
    later = [Kill(point, chance.randint(2, LATER)) for point in points if point not in AT_START]
    chance.shuffle(once)
    chance.shuffle(later)
    kills = [*(Kill(point) for point in FIRST), *once, *later][:count]
    while len(kills) < count:
        point = chance.choice(points)
        at_a_step = Kill(point, 1 if point in AT_START else chance.randint(1, LATER))
        kills.append(at_a_step if chance.random() < 0.6 else Kill(None))
    rest = kills[len(FIRST) :]
    chance.shuffle(rest)
    return [*kills[: len(FIRST)], *rest]


def again(reached: Collection[str | None]) -> list[Kill]:
    """Choose kills for the steps that were not reached yet, each after one that leaves work behind for it to find."""
    missing = [point for point in POINTS if point not in reached and point not in FIRST]
    return [kill for point in missing for kill in (Kill("handler.started"), Kill(point))]
