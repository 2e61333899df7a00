"""``GET /metrics``: what the daemon counts, in the form that Prometheus asks for."""

from aiohttp import hdrs, web
from prometheus_client.exposition import choose_encoder

from listener import metrics
from listener.web.route import Route


async def _metrics(request: web.Request) -> web.Response:
    encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
    return web.Response(body=encode(metrics.registry), headers={"Content-Type": content_type})


ROUTE = Route(
    method="GET",
    path="/metrics",
    handler=_metrics,
    unlimited=True,
    summary="Metrics for Prometheus.",
    answers="text/plain",
)
