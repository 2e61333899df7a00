"""The HTTP side: who calls the daemon gets an answer here; all work is done elsewhere."""

from listener.web.door import listen
from listener.web.envelope import Refused, envelope, refusal
from listener.web.execute import Executable
from listener.web.healthcheck import Healthcheck, no_healthcheck_route
from listener.web.ipfs import ipfs_route
from listener.web.route import Route
from listener.web.routes import attester_routes, performer_routes
from listener.web.server import Server
from listener.web.validate import no_validate_route, validate_route

__all__ = [
    "Executable",
    "Healthcheck",
    "Refused",
    "Route",
    "Server",
    "attester_routes",
    "envelope",
    "ipfs_route",
    "listen",
    "no_healthcheck_route",
    "no_validate_route",
    "performer_routes",
    "refusal",
    "validate_route",
]
