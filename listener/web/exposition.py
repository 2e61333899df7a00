"""``GET /metrics``: what the daemon counts."""

from aiohttp import hdrs, web

from listener import metrics
from listener.web.route import Route


async def _metrics(_request: web.Request) -> web.Response:
    return web.Response(body=metrics.render(), headers={hdrs.CONTENT_TYPE: metrics.CONTENT_TYPE})


ROUTE = Route(
    method="GET",
    path="/metrics",
    handler=_metrics,
    unlimited=True,
    summary="Metrics for Prometheus.",
    answers="text/plain",
)
