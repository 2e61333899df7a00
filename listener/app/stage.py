"""The stages, in one TaskGroup: the first that ends unasked ends all, and a stop waits for what is in hand."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from listener.errors import StageEnded

log = structlog.get_logger()

GRACE_S = 20.0  # for what is in hand when asked to stop; container platforms kill after 30 s or more


class Stage(Protocol):
    """One loop of the daemon."""

    @property
    def name(self) -> str:
        """What it is called in logs."""
        ...

    async def run(self, stop: asyncio.Event) -> None:
        """Run until asked to stop; returning before is a fault."""
        ...


async def keep(stage: Stage, stop: asyncio.Event) -> None:
    """
    Run one stage.

    Raises:
        StageEnded: it returned before it was asked to.
    """
    await stage.run(stop)
    if not stop.is_set():
        raise StageEnded(f"stage {stage.name} ended unasked")


async def serve(stages: Sequence[Stage], stop: asyncio.Event, grace_s: float = GRACE_S) -> None:
    """Run all stages until ``stop``, then wait for them, at most ``grace_s``."""
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(keep(stage, stop), name=stage.name) for stage in stages]
        await stop.wait()
        _, late = await asyncio.wait(running, timeout=grace_s)
        for straggler in late:
            log.warning("stage.cut_off", stage=straggler.get_name(), grace_s=grace_s)
            straggler.cancel()
