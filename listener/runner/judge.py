"""
The stage of an attester alone: a loop for its validators, where a performer has one for its handlers.

It claims nothing and writes nothing: an attester has no journal.
"""

import asyncio
from collections.abc import Sequence

from listener.model import Claim, Judgement, Verdict
from listener.runner.execution import Outcome, Work
from listener.runner.handler_loop import HandlerLoop, judged


class Judge:
    """Judges claims, as many at a time as are asked for."""

    name = "judge"

    def __init__(self) -> None:
        self._handlers: HandlerLoop | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Judge until asked to stop; what is in hand then is unsure."""
        self._handlers = HandlerLoop(None, _nothing)
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._handlers.watch())
                await stop.wait()
                watching.cancel()
        finally:
            await self._handlers.close()

    def judge(self, works: Sequence[Work], claim: Claim) -> "asyncio.Future[Judgement]":
        """Have a claim judged by the rules that it may come from."""
        if self._handlers is None:
            return judged(Verdict.unsure("the daemon starts"))
        return self._handlers.judge(works, claim)


def _nothing(outcomes: list[Outcome]) -> None:
    """Take outcomes of executions: there are none."""
