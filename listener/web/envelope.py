"""The form of all answers: ``{"data", "error", "message"}``, as the stack's own services have it."""

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

TYPE = "application/json"


class Refused(Exception):
    """What a request gets in place of an answer. The route knows with what ``data``."""

    def __init__(
        self, status: int, message: str, *, headers: Mapping[str, str] | None = None, ends: bool = False
    ) -> None:
        """Say why; ``ends`` the connection with it, because not all was read that is on its way."""
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.ends = ends


def body(data: Any, message: str | None, *, error: bool) -> bytes:
    """Return an answer's bytes."""
    if message is not None:  # it may be what a task says, and that may hold lone surrogates
        message = message.encode(errors="backslashreplace").decode()
    return orjson.dumps({"data": data, "error": error, "message": message})


def envelope(
    data: Any,
    message: str | None = None,
    *,
    error: bool = False,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Make an answer."""
    return web.Response(body=body(data, message, error=error), status=status, headers=headers, content_type=TYPE)


def refusal(status: int, message: str, *, data: Any = None, headers: Mapping[str, str] | None = None) -> web.Response:
    """
    Make the answer to a request that is not carried out.

    ``data`` is never an empty object, as it is in the stack's services: who looks only whether it is true would take it
    for a yes.
    """
    return envelope(data, message, error=True, status=status, headers=headers)


def refused(why: Refused, data: Any) -> web.Response:
    """Make the answer to a request that was refused half-way."""
    answer = refusal(why.status, str(why), data=data, headers=why.headers)
    if why.ends:
        answer.force_close()
    return answer


def raw(status: int, reason: str, message: str) -> bytes:
    """Return a refusal as it stands on the wire, for a connection on which no request was read; it ends there."""
    content = body(None, message, error=True)
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: {TYPE}\r\nContent-Length: {len(content)}\r\n"
        "Retry-After: 1\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + content
