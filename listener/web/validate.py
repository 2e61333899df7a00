"""``POST /task/validate``: the route by which attester nodes ask."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiohttp import hdrs, web

from listener.web.envelope import envelope
from listener.web.route import Handler, Route

PATH = "/task/validate"
SUMMARY = "Judges a task of another performer: an attester node asks before it votes."
STATUSES = (400, 404, 503)
BODY: dict[str, Any] = {  # as the attester reads it
    "type": "object",
    "properties": {
        "proofOfTask": {"type": "string"},
        "data": {"type": "string", "pattern": "^0x([0-9a-fA-F]{2})*$"},
        "taskDefinitionId": {"type": "integer", "minimum": 0, "maximum": 65535},
        "performer": {"type": "string", "pattern": "^0[xX][0-9a-fA-F]{40}$"},
    },
    "required": ["proofOfTask", "data", "taskDefinitionId", "performer"],
}


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

    return _route(handle)


def no_validate_route() -> Route:
    """Make the route of a daemon that only performs: it says why nobody judges here."""

    async def handle(_request: web.Request) -> web.Response:
        message = "this daemon is a performer alone; start it with --role both, or another with --role attester"
        return envelope(False, message, error=True, status=404)  # noqa: FBT003 - data, as everywhere on this path

    return _route(handle)


def _route(handler: Handler) -> Route:
    return Route(
        method=hdrs.METH_POST,
        path=PATH,
        handler=handler,
        for_attesters=True,
        refused=False,
        summary=SUMMARY,
        body=lambda: BODY,
        statuses=STATUSES,
    )
