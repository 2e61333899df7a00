"""One bind: a socket that listens, the routes that are served on it, and the connections that came."""

import asyncio
import ipaddress
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import hdrs, web

from listener import config, descriptors
from listener.config.http import place
from listener.errors import BindFailed
from listener.web.connection import Connection, Crowd
from listener.web.guard import Guard
from listener.web.route import Route

BACKLOG = 1024
LEAVING_LEAST, LEAVING_MOST = 64, 16_384  # connections that are told to leave, at a time
RESERVED = 512  # descriptors for all that is no connection of a client
STOP_S = 5.0  # for requests that are in hand when the server stops


def listen(key: str, bind: str) -> socket.socket:
    """
    Listen on a bind; what connects is served as soon as the server runs.

    Args:
        key: what the operator calls it: bind or validate_bind.
        bind: address and port.

    Raises:
        BindFailed: the port is taken, or the address is not this machine's.
    """
    host, port = place(bind)
    family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise BindFailed(
            f"http.{key} {bind}: cannot listen there: {os.strerror(error.errno or 0)}; "
            "write another in config.toml, or end the process that has it"
        ) from error


def leaving_room(allowed: int, size: int) -> int:
    """Return how many refused connections a bind may hold: what others leave, shared with the other bind."""
    return max(LEAVING_LEAST, min(LEAVING_MOST, (allowed - RESERVED) // 2 - size))


class Door:
    """A bind as it is served; ``open`` it."""

    def __init__(self, listening: socket.socket, settings: config.Http, routes: Sequence[Route]) -> None:
        self._listening = listening
        self._settings = settings
        self._routes = routes
        host, port = listening.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Serve until the block ends; then finish what is in hand."""
        guard = Guard(self._settings, self._routes)
        app = web.Application(middlewares=[guard.middleware], client_max_size=self._settings.max_body_bytes)
        for route in self._routes:
            if route.method == hdrs.METH_GET:
                app.router.add_get(route.path, route.handler)  # and HEAD
            else:
                app.router.add_route(route.method, route.path, route.handler)
        runner = web.AppRunner(app, shutdown_timeout=STOP_S)
        await runner.setup()
        served = runner.server
        assert served is not None  # noqa: S101 -- it is, after setup
        size = self._settings.max_connections
        crowd = Crowd(size, leaving_room(descriptors.allowed(), size))
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(served, crowd, self._settings.read_timeout_s), sock=self._listening, backlog=BACKLOG
        )
        try:
            yield
        finally:
            server.close()
            await runner.cleanup()
