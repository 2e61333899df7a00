"""``GET /openapi.json``: what the daemon answers, described from the models that read its requests."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, cast

import orjson
from aiohttp import web
from pydantic import BaseModel

from listener.web.envelope import TYPE
from listener.web.route import REFERENCE, Route

REFUSED = {
    400: "The request does not fit.",
    401: "The token is missing or wrong.",
    403: "A page of another origin asks.",
    404: "There is nothing of this kind.",
    408: "The body did not come in time.",
    409: "The key was given with another body.",
    413: "The body is too large.",
    415: "The body is of another type.",
    429: "The client asks too often.",
    500: "A fault, or a task that failed.",
    503: "Not now.",
}
ENVELOPE = {
    "type": "object",
    "properties": {"data": {}, "error": {"type": "boolean"}, "message": {"type": ["string", "null"]}},
    "required": ["data", "error", "message"],
    "additionalProperties": False,
}


def document_route(routes: Sequence[Route], *, guarded: bool) -> Route:
    """
    Give the route of the document.

    It needs no token: it says what the manual says.

    Args:
        routes: what it describes.
        guarded: whether a token is set.
    """

    @cache  # made when it is first asked for: most daemons never are, and it takes memory
    def written() -> bytes:
        return orjson.dumps(document(routes, guarded=guarded))

    async def handler(_request: web.Request) -> web.Response:
        return web.Response(body=written(), content_type=TYPE)

    return Route(method="GET", path="/openapi.json", handler=handler, unlimited=True)


def document(routes: Sequence[Route], *, guarded: bool) -> dict[str, Any]:
    """Describe routes as OpenAPI 3.1 does."""
    schemas: dict[str, Any] = {"Envelope": ENVELOPE}
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas, guarded=guarded)
    return {
        "openapi": "3.1.0",
        "info": {"title": "listener", "version": version("listener")},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _operation(route: Route, schemas: dict[str, Any], *, guarded: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "summary": route.summary,
        "operationId": "_".join(
            (route.method.lower(), *route.path.strip("/").replace("{", "").replace("}", "").split("/"))
        ),
        "parameters": list(_parameters(route, schemas)),
        "responses": _responses(route, guarded=guarded),
    }
    if route.guarded and guarded:
        found["security"] = [{"token": []}]
    if route.body is not None:
        schema = _lifted(_body(route.body), schemas)
        found["requestBody"] = {"required": True, "content": {TYPE: {"schema": schema}}}
    return found


def _body(body: type[BaseModel] | Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    if isinstance(body, type) and issubclass(body, BaseModel):
        return body.model_json_schema(ref_template=REFERENCE)
    return cast("Callable[[], Mapping[str, Any]]", body)()


def _responses(route: Route, *, guarded: bool) -> dict[str, Any]:
    envelope = {TYPE: {"schema": {"$ref": "#/components/schemas/Envelope"}}}
    answer: dict[str, Any] = {route.answers: {"schema": {"type": "string"} if route.answers != TYPE else {}}}
    found: dict[str, Any] = {
        "200": {"description": "Well.", "content": envelope if route.enveloped and route.answers == TYPE else answer}
    }
    for status in sorted({*route.statuses, *_general(route, guarded=guarded)}):
        found[str(status)] = {"description": REFUSED.get(status, "Taken."), "content": envelope}
    return found


def _general(route: Route, *, guarded: bool) -> Iterator[int]:
    """Give the statuses with which the server itself refuses."""
    yield from (429, 500)
    if not route.unlimited:
        yield 503
    if route.guarded:
        yield 401 if guarded else 403
    if route.body is not None:
        yield from (408, 413, 415)
    else:
        yield from (413, 415)


def _parameters(route: Route, schemas: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for place, model in (("path", route.named), ("query", route.query), ("header", route.headers)):
        if model is None:
            continue
        schema = _lifted(model.model_json_schema(ref_template=REFERENCE), schemas)
        for name, field in schema.get("properties", {}).items():
            yield {
                "name": name,
                "in": place,
                "required": name in schema.get("required", ()),
                "schema": field,
                **({"description": field["description"]} if "description" in field else {}),
            }


def _lifted(schema: Mapping[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Move the models that a schema refers to among the document's own, where its references look for them."""
    schemas.update(schema.get("$defs", {}))
    return {name: value for name, value in schema.items() if name != "$defs"}
