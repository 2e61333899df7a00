"""
The daemon from its start until a signal.

The first SIGINT or SIGTERM asks the stages to finish what is in hand; after the grace they are cancelled. A second
signal cancels at once, and the process exits 1.
"""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

import structlog

from listener import config, memory
from listener.app.attester import attend
from listener.app.performer import build
from listener.app.stage import serve
from listener.handlers import Handler
from listener.rules.matcher import Matcher

log = structlog.get_logger()


async def run(
    settings: config.Config,
    matchers: Sequence[Matcher],
    handlers: Mapping[str, Handler],
    *,
    role: str = "performer",
    resume_at: str | None = None,
) -> int:
    """
    Be the daemon until a signal.

    Args:
        settings: what the operator wrote.
        matchers: one for each rule whose tasks a block makes.
        handlers: by rule.
        role: performer, attester or both.
        resume_at: how to go on with a journal that was restored: latest or cursor.

    Returns:
        The exit code: 0 when asked to stop, 1 when a second signal cut it short.

    Raises:
        ListenerError: it cannot start, or cannot go on.
    """
    stop = asyncio.Event()
    serving = asyncio.current_task()
    loop = asyncio.get_running_loop()
    forced = False

    def on_signal(name: str) -> None:
        nonlocal forced
        if stop.is_set() and serving is not None:
            forced = True
            serving.cancel()
        log.info("daemon.stopping", signal=name, forced=forced)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number.name)
    try:
        async with AsyncExitStack() as edges:
            if role == "attester":
                stages = await attend(settings, matchers, handlers, edges)
            else:
                stages = await build(settings, matchers, handlers, edges, resume_at, attests=role == "both")
            memory.freeze()
            log.info("daemon.started", stages=[stage.name for stage in stages], rules=len(settings.rules))
            await serve(stages, stop)
    except asyncio.CancelledError:
        if not forced:
            raise
        return 1
    log.info("daemon.stopped")
    return 0
