"""``POST /task/validate``: the route by which attester nodes ask."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import hdrs, web

from listener.web.envelope import envelope
from listener.web.route import Route

PATH = "/task/validate"


class Answered(Protocol):
    """What comes of a request."""

    @property
    def status(self) -> int: ...  # noqa: D102
    @property
    def data(self) -> bool: ...  # noqa: D102
    @property
    def error(self) -> bool: ...  # noqa: D102
    @property
    def message(self) -> str | None: ...  # noqa: D102


def validate_route(answer: Callable[[bytes], Awaitable[Answered]]) -> Route:
    """Make the route; ``answer`` is asked with the body of each request."""

    async def handle(request: web.Request) -> web.Response:
        found = await answer(await request.read())
        headers = {"Retry-After": "1"} if found.status == 503 else None
        return envelope(found.data, found.message, error=found.error, status=found.status, headers=headers)

    return Route(method=hdrs.METH_POST, path=PATH, handler=handle, for_attesters=True, refused=False)


def no_validate_route() -> Route:
    """Make the route of a daemon that only performs: it says why nobody judges here."""

    async def handle(_request: web.Request) -> web.Response:
        message = "this daemon is a performer alone; start it with --role both, or another with --role attester"
        return envelope(False, message, error=True, status=404)  # noqa: FBT003 - data, as everywhere on this path

    return Route(method=hdrs.METH_POST, path=PATH, handler=handle, for_attesters=True, refused=False)
