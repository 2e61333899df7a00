"""What was read lately, and what is being read: who asks for the same waits for the same answer."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")
KEPT = 64


class Answers(Generic[T]):
    """The last answers by what was asked. Failures are not kept. Lives on one loop."""

    def __init__(self) -> None:
        self._asked: dict[Hashable, asyncio.Task[T]] = {}

    async def get(self, key: Hashable, ask: Callable[[], Coroutine[None, None, T]]) -> T:
        """Return the answer that is known or under way, else ask."""
        task = self._asked.get(key)
        if task is None:
            while len(self._asked) >= KEPT:
                self._asked.pop(next(iter(self._asked)))
            task = self._asked[key] = asyncio.create_task(ask())
        try:
            return await asyncio.shield(task)  # who goes away leaves the others their answer
        except BaseException:
            if task.done() and self._asked.get(key) is task:
                self.forget(key)
            raise

    def forget(self, key: Hashable) -> None:
        """Ask anew next time."""
        self._asked.pop(key, None)
