"""One path of the HTTP server: who answers it, where it is served, and what guards it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """
    A method and a path, as aiohttp writes it: ``/api/tasks/{id}``.

    Args:
        handler: gives the answer. What it raises is logged, and is a 500 without details.
        guarded: whether the token is asked for, where one is set.
        for_attesters: whether it is served on ``validate_bind`` too.
        unlimited: whether it is answered also when all the other requests have no room: it must be quick.
        refused: ``data`` of a refusal that the server makes before the handler is asked.
    """

    method: str
    path: str
    handler: Handler
    guarded: bool = False
    for_attesters: bool = False
    unlimited: bool = False
    refused: Any = None
