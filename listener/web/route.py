"""One path of the HTTP server: who answers it, where it is served, and what guards it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from pydantic import BaseModel

REFERENCE = "#/components/schemas/{model}"  # where the OpenAPI document keeps a model

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
        summary: what it is for, in one sentence; here and below is what the OpenAPI document says of it.
        named: the model that reads the names in its path.
        query: the model that reads its query.
        headers: the model that reads those of its headers that matter.
        body: the model that reads its body, or what gives the JSON schema where several do.
        enveloped: whether its answer has the common form.
        statuses: what it answers beside 200 and what the server itself answers.
        answers: the type of its answer.
    """

    method: str
    path: str
    handler: Handler
    guarded: bool = False
    for_attesters: bool = False
    unlimited: bool = False
    refused: Any = None
    summary: str = ""
    named: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    headers: type[BaseModel] | None = None
    body: type[BaseModel] | Callable[[], Mapping[str, Any]] | None = None
    enveloped: bool = True
    statuses: tuple[int, ...] = ()
    answers: str = "application/json"
