"""
One connection, in aiohttp's hands, with what it leaves to others: a time limit for the first head, a place among all
connections, and errors in our own form.
"""

import asyncio
import http
from typing import Any

import structlog
from aiohttp import hdrs, web
from aiohttp.http_exceptions import LineTooLong

from listener import metrics
from listener.web.envelope import raw, refusal

log = structlog.get_logger()

LINGER_S = 1.0  # a refusal gets through only if what the client still sends is not answered with a reset
KEEP_ALIVE_S = 60.0


class Crowd:
    """
    The connections of one bind, at most ``size``, and beside them at most ``leaving`` that were refused.

    Who comes when there is no room takes the place of who has been there longest without a request in hand: so those
    that send theirs slowly, or none, are in nobody's way but each other's. Who has to leave is told so, unless nobody
    there waits for an answer.
    """

    def __init__(self, size: int, leaving: int) -> None:
        self._size = size
        self._most_leaving = leaving
        self._idle: dict[Connection, None] = {}  # in the order in which they became so
        self._busy: set[Connection] = set()
        self._leaving: dict[Connection, None] = {}  # in the order in which they were refused

    def enter(self, connection: "Connection") -> bool:
        """Let a connection in; False where all others have a request in hand."""
        if len(self._idle) + len(self._busy) >= self._size:
            if not self._idle:
                return False
            next(iter(self._idle)).give_way()
        self._idle[connection] = None
        return True

    def begin(self, connection: "Connection") -> None:
        """Hear that a connection has a request in hand."""
        if connection in self._idle:
            del self._idle[connection]
            self._busy.add(connection)

    def end(self, connection: "Connection") -> None:
        """Hear that it has none any longer."""
        if connection in self._busy:
            self._busy.remove(connection)
            self._idle[connection] = None

    def refused(self, connection: "Connection") -> None:
        """Hear that it was told to leave; where too many were, the first of them has had the longest to read it."""
        self.leave(connection)
        if len(self._leaving) >= self._most_leaving:
            first = next(iter(self._leaving))
            self.leave(first)
            first.force_close()
        self._leaving[connection] = None

    def leave(self, connection: "Connection") -> None:
        """Hear that it is gone."""
        self._idle.pop(connection, None)
        self._busy.discard(connection)
        self._leaving.pop(connection, None)


class Connection(web.RequestHandler):
    """One connection of a bind."""

    __slots__ = ("_crowd", "_first_head", "_leaves", "_owes", "_read_timeout_s")

    def __init__(self, server: web.Server, crowd: Crowd, read_timeout_s: float) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # this is how aiohttp turns it off
            keepalive_timeout=KEEP_ALIVE_S,
            lingering_time=LINGER_S,
            auto_decompress=False,  # a small body must not become a large one
        )
        self._crowd = crowd
        self._read_timeout_s = read_timeout_s
        self._first_head: asyncio.TimerHandle | None = None
        self._leaves: asyncio.TimerHandle | None = None
        self._owes = True  # an answer: who connects is about to ask

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, and wait for a head; that of a later request has as long as an idle connection may stay."""
        super().connection_made(transport)
        if self._crowd.enter(self):
            self._first_head = asyncio.get_running_loop().call_later(self._read_timeout_s, self._too_slow)
        else:
            self._refuse(503, "too many connections; try again")

    def connection_lost(self, exc: BaseException | None) -> None:
        """Make room."""
        self._crowd.leave(self)
        if self._first_head is not None:
            self._first_head.cancel()
        if self._leaves is not None:
            self._leaves.cancel()
        super().connection_lost(exc)

    def head_arrived(self) -> None:
        """Hear that a request's head was read."""
        self._owes = True
        if self._first_head is not None:
            self._first_head.cancel()
            self._first_head = None

    def begin(self) -> None:
        """
        Hear that a request was read, and is in hand.

        Raises:
            ConnectionError: it was refused meanwhile, and must not be carried out.
        """
        if self._leaves is not None:
            raise ConnectionError("this connection was refused")
        self._crowd.begin(self)

    def end(self) -> None:
        """Hear that it has its answer."""
        self._crowd.end(self)

    def give_way(self) -> None:
        """Leave, for another to come in."""
        if self._owes:
            self._refuse(503, "too many connections; try again")
        else:
            self._crowd.leave(self)
            self.force_close()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write an answer; aiohttp's own refusals, such as 404, take our form first."""
        if self._leaves is not None:
            return resp, True  # it has its answer
        if isinstance(resp, web.HTTPException):
            allowed = {name: value for name, value in resp.headers.items() if name == "Allow"}
            resp = refusal(resp.status, said(resp), headers=allowed)
        resp.headers.setdefault(hdrs.SERVER, "listener")  # without the versions of what it is made of
        self._owes = False
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 -- it may quote what was sent
    ) -> web.StreamResponse:
        """Make the answer to what is not HTTP, or to a fault of ours; the connection ends with it."""
        self.head_arrived()
        if isinstance(exc, ConnectionError):
            raise exc  # the client is gone: nobody waits for an answer
        if isinstance(exc, UnicodeEncodeError) and hdrs.EXPECT in request.headers:
            answer = refusal(417, "expectation failed")  # aiohttp would quote it, but it is no text
        elif status >= 500:
            log.error("http.failed", path=request.path, exc_info=exc)
            answer = refusal(status, "a fault of the server, see its log")
        elif isinstance(exc, LineTooLong):
            answer = refusal(431, "a line of the request's head is too long")
        else:
            answer = refusal(status, "this is no HTTP request")
        if request.writer.output_size > 0:
            raise ConnectionError("a part of an answer is sent")
        answer.force_close()
        return answer

    def log_exception(self, *_args: Any, **details: Any) -> None:
        """Log what aiohttp found no answer to."""
        log.error("http.failed", exc_info=details.get("exc_info"))

    def _too_slow(self) -> None:
        self._first_head = None
        self._refuse(408, f"no whole head of a request within {self._read_timeout_s:g} s")

    def _refuse(self, status: int, message: str) -> None:
        """Send a refusal, and leave the client a moment to read it."""
        metrics.http_connections_refused.inc()
        if self._first_head is not None:
            self._first_head.cancel()
            self._first_head = None
        transport = self.transport
        if transport is None:
            self._crowd.leave(self)
            return
        self._crowd.refused(self)
        transport.write(raw(status, http.HTTPStatus(status).phrase, message))
        self.close()  # what still comes is thrown away
        self._leaves = asyncio.get_running_loop().call_later(LINGER_S, self.force_close)


def said(refused: web.HTTPException) -> str:
    """Say one of aiohttp's refusals in one line."""
    if isinstance(refused, web.HTTPMethodNotAllowed):
        return f"{refused.method} is not what is done here; try {', '.join(sorted(refused.allowed_methods))}"
    if isinstance(refused, web.HTTPNotFound):
        return "there is nothing here"
    return (refused.reason or http.HTTPStatus(refused.status).phrase).lower()
