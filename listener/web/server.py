"""The stage that answers HTTP, on one bind or two."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack

import structlog

from listener import config
from listener.web.door import Door
from listener.web.route import Route

log = structlog.get_logger()


class Server:
    """
    Serves routes: all of them on ``bind``, those for attesters on ``validate_bind`` too.

    Args:
        settings: limits and token.
        main: the socket of ``bind``.
        attesters: that of ``validate_bind``, None where there is none.
        routes: what is answered.
        stopping: set when the server stops, for handlers that wait for something.
    """

    name = "http"

    def __init__(
        self,
        settings: config.Http,
        main: socket.socket,
        attesters: socket.socket | None,
        routes: Sequence[Route],
        stopping: asyncio.Event | None = None,
    ) -> None:
        self._doors = [Door(main, settings, routes)]
        if attesters is not None:
            self._doors.append(Door(attesters, settings, [route for route in routes if route.for_attesters]))
        self._stopping = stopping or asyncio.Event()

    @property
    def url(self) -> str:
        """Where ``bind`` answers."""
        return self._doors[0].url

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until asked to stop."""
        async with AsyncExitStack() as opened:
            for door in self._doors:
                await opened.enter_async_context(door.open())
                log.info("http.listening", url=door.url)
            try:
                await stop.wait()
            finally:
                self._stopping.set()
