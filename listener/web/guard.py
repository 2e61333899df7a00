"""
What every request passes before it is answered: the client's rate, the token, the size of its body and the time that
this takes, and a slot. Who fails is told so in the common form.
"""

import asyncio
import hmac
import ipaddress
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

import structlog
from aiohttp import hdrs, web

from listener import config, metrics
from listener.web.connection import Connection
from listener.web.envelope import Refused, refusal, refused
from listener.web.limits import Rates, Slots
from listener.web.route import Handler, Route

log = structlog.get_logger()


class Guard:
    """The guard of one bind; ``middleware`` is what aiohttp calls."""

    def __init__(self, settings: config.Http, routes: Sequence[Route]) -> None:
        self._routes = {(route.method, route.path): route for route in routes}
        self._token = None if settings.token is None else settings.token.get_secret_value().encode()
        self._max_body_bytes = settings.max_body_bytes
        self._read_timeout_s = settings.read_timeout_s
        self._rates = Rates(settings.requests_per_s)
        self._slots = Slots(settings.max_requests)

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            status = 500
            try:
                answer = await self._admit(request, handler)
                status = answer.status
            except web.HTTPException as refusal:
                status = refusal.status
                raise
            finally:
                route = self._route(request)
                metrics.http_requests.labels("other" if route is None else route.path, str(status)).inc()
            return answer

        self.middleware = middleware

    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)  # noqa: S101 -- nothing else is made in door.py
        connection.head_arrived()
        route = self._route(request)
        try:
            self._limit_rate(request)
            if route is None:
                return await handler(request)  # aiohttp's own, which says 404 or 405
            self._authorise(request, route)
            await self._read(request)
            with self._in_hand(connection, route):
                return await handler(request)
        except Refused as why:
            return refused(why, None if route is None else route.refused)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception:
            log.exception("http.failed", path=request.path)
            return refusal(500, "a fault of the server, see its log", data=None if route is None else route.refused)

    def _route(self, request: web.Request) -> Route | None:
        resource = request.match_info.route.resource
        method = hdrs.METH_GET if request.method == hdrs.METH_HEAD else request.method
        return None if resource is None else self._routes.get((method, resource.canonical))

    def _limit_rate(self, request: web.Request) -> None:
        wait_s = self._rates.wait_s(request.remote or "", time.monotonic())
        if wait_s:
            message = f"too many requests; try again in {wait_s:.3f} s"
            raise Refused(429, message, headers={"Retry-After": str(math.ceil(wait_s))})

    def _authorise(self, request: web.Request, route: Route) -> None:
        """
        Refuse who may not ask.

        Without a token only this machine can ask, and then a page in its browser must not: neither one of another
        origin, nor one whose name was made to lead here.
        """
        if not route.guarded:
            return
        if self._token is not None:
            scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
            known = hmac.compare_digest(given.strip().encode(errors="replace"), self._token)
            if scheme.lower() != "bearer" or not known:
                message = "send Authorization: Bearer TOKEN, with the right token"
                raise Refused(401, message, headers={"WWW-Authenticate": "Bearer"})
            return
        host, origin = request.headers.get(hdrs.HOST, ""), request.headers.get(hdrs.ORIGIN)
        if origin is not None and origin != f"http://{host}":
            raise Refused(403, "a page of another origin may not ask here")
        if host and not _is_address(host):
            raise Refused(403, "ask by an address, or as localhost; under another name http.token has to be set")

    async def _read(self, request: web.Request) -> None:
        """Read the body, and refuse what is too large, too slow, or packed."""
        if not request.body_exists:
            return
        if (request.content_length or 0) > self._max_body_bytes:
            raise self._too_large()
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
            raise Refused(415, "send the body as it is, without Content-Encoding")
        try:
            async with asyncio.timeout(self._read_timeout_s):
                await request.read()
        except TimeoutError:
            raise Refused(408, f"no whole body within {self._read_timeout_s:g} s", ends=True) from None
        except web.HTTPRequestEntityTooLarge:
            raise self._too_large() from None
        except web.RequestPayloadError:
            raise Refused(400, "the body is not what the head says of it", ends=True) from None

    def _too_large(self) -> Refused:
        return Refused(413, f"the body is larger than {self._max_body_bytes} bytes")

    @contextmanager
    def _in_hand(self, connection: Connection, route: Route) -> Iterator[None]:
        """Hold a slot, and the connection's place, while a request is answered."""
        if not route.unlimited and not self._slots.take():
            raise Refused(503, "too many requests at a time; try again", headers={"Retry-After": "1"})
        try:
            connection.begin()
            yield
        finally:
            connection.end()
            if not route.unlimited:
                self._slots.give_back()


def _is_address(host: str) -> bool:
    """Tell whether a Host header names an IP address or this machine."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or bool(ipaddress.ip_address(name))
    except ValueError:
        return False
