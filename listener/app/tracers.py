"""The stage that sends traces, where it is asked for."""

import os
from contextlib import AsyncExitStack

import structlog

from listener import config, traces
from listener.app.stage import Stage
from listener.journal.readings import Readings

log = structlog.get_logger()


def tracers(readings: Readings, edges: AsyncExitStack) -> list[Stage]:
    """Make the stage that sends traces, where the environment asks for them; what is in its way is no fault."""
    try:
        if not config.traces_wanted(os.environ):
            return []
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra

        from listener.tracer import Tracer  # noqa: PLC0415

        tracer = Tracer(traces.open_notebook(), readings, OTLPSpanExporter())
    except ImportError:
        log.warning("traces.unavailable", reason="the extra is not installed: pip install 'listener[otel]'")
        return []
    except ValueError as error:
        traces.close_notebook()
        log.warning("traces.unavailable", reason=str(error))
        return []
    edges.callback(traces.close_notebook)
    edges.push_async_callback(tracer.close)
    return [tracer]
