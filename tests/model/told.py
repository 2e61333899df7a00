"""
The first failure of a model, and the steps that led to it.

What happens between two steps is a matter of time: the same steps again may go well, or elsewhere, and then Hypothesis
speaks of a flaky test in place of what was seen. So it is kept as it was seen.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from hypothesis.errors import Flaky, UnsatisfiedAssumption


class Told:
    """What was done since the beginning of the present history, until one fails."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.failure: Exception | None = None

    def begin(self) -> None:
        """Begin another history."""
        if self.failure is None:
            self.steps = []

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Do one step; the first that fails is the last one that is told."""
        if self.failure is None:
            self.steps.append(text)
        try:
            yield
        except UnsatisfiedAssumption:
            raise  # Hypothesis's own
        except Exception as error:
            self.failure = self.failure or error
            raise

    @contextmanager
    def first_failure(self) -> Iterator[None]:
        """Raise the first failure with its steps where Hypothesis did not meet it again, else add it to what it met."""
        try:
            yield
        except Exception as error:
            if self.failure is None:
                raise
            said = "\n".join((f"first seen: {self.failure!r}, after", *self.steps))
            if not isinstance(error, Flaky):
                error.add_note(said)
                raise
            self.failure.add_note(said)
            raise self.failure from error


def told(method: Callable[..., None]) -> Callable[..., None]:
    """Let a step of a machine that has a ``told`` be told."""

    @wraps(method)
    def telling(self: Any, **given: Any) -> None:
        with self.told.step(f"{method.__name__}({', '.join(f'{name}={value!r}' for name, value in given.items())})"):
            method(self, **given)

    return telling
