"""
What OpenTelemetry's own environment variables say of traces: whether they are wanted, and what of them is secret.

There is no table for them in ``config.toml``: whoever runs a collector sets these names already, and the SDK reads the
others (headers, sampler, batches, resource) by itself.
"""

from collections.abc import Mapping
from urllib.parse import unquote

from listener.config.url import Url

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def traces_wanted(environ: Mapping[str, str]) -> bool:
    """
    Tell whether traces are to be sent: an endpoint or an exporter is named, and nothing switches them off.

    Raises:
        ValueError: they are wanted in a way that is not offered.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter == "none" or not (exporter or any(environ.get(name) for name in _ENDPOINTS)):
        return False
    if exporter not in ("", "otlp"):
        raise ValueError(f"OTEL_TRACES_EXPORTER = {exporter:.50}: only otlp and none are offered")
    for name in _PROTOCOLS:
        if protocol := environ.get(name, "").strip().lower():
            if protocol != "http/protobuf":
                raise ValueError(f"{name} = {protocol:.50}: only http/protobuf is offered (port 4318 of a collector)")
            break  # the first of them counts
    return True


def trace_secrets(environ: Mapping[str, str]) -> list[str]:
    """Return what no log line may show: values of headers, and what an endpoint's URL hides."""
    found = [secret for name in _ENDPOINTS if environ.get(name) for secret in Url(environ[name]).secrets]
    for name in _HEADERS:
        for header in environ.get(name, "").split(","):
            value = header.partition("=")[2].strip()
            words = [value, unquote(value)]
            found += [*words, unquote(value).rpartition(" ")[2]]  # of "Bearer TOKEN" the token alone too
    return [secret for secret in found if secret]
