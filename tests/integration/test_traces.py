"""A daemon sends its traces to a collector, where the environment names one, and loads nothing of it elsewhere."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from command import running
from following import BLOCKS, Following, write_config
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from listener.devnet.aggregator import Aggregator
from listener.testing import FakeNode

SECRET = "t0ken-of-ours"  # noqa: S105 - no secret
LOADED = """
[[rules]]
name = "loaded"
task = "loaded"
task_definition_id = 7
trigger = { type = "block", chain = "l2", every = 1 }
"""
LOADED_PY = """
import sys
from listener import TaskResult
async def execute(ctx):
    return TaskResult(f"{ctx.trigger.block_number} opentelemetry={'opentelemetry' in sys.modules}")
"""


class Collector:
    """What an OpenTelemetry collector receives over HTTP."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []
        self.authorizations: set[str | None] = set()

    async def receive(self, request: web.Request) -> web.Response:
        self.authorizations.add(request.headers.get("Authorization"))
        for part in ExportTraceServiceRequest.FromString(await request.read()).resource_spans:
            self.resources.append({each.key: each.value.string_value for each in part.resource.attributes})
            self.spans += [span for scope in part.scope_spans for span in scope.spans]
        return web.Response(status=self.status)

    def names(self) -> list[str]:
        return sorted(span.name for span in self.spans)


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{runner.addresses[0][1]}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer%20{SECRET}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    yield collector
    await runner.cleanup()


async def test_a_collector_gets_one_trace_for_each_task(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path, collector: Collector
) -> None:
    async with running(write_config(tmp_path, [node.ws_url], BLOCKS, aggregator=aggregator.url)) as run:
        await run.logged("chain.begun")
        await node.mine()
        # block_report judges itself before it is signed
        expected = ["append", "execute", "self-check", "send", "sign", "task"]
        await run.until(lambda: collector.names() == expected)
        assert len({span.trace_id for span in collector.spans}) == 1
        (root,) = [span for span in collector.spans if not span.parent_span_id]
        assert root.name == "task"
        assert {span.parent_span_id for span in collector.spans if span is not root} == {root.span_id}
        ends = {span.name: (span.start_time_unix_nano, span.end_time_unix_nano) for span in collector.spans}
        order = ["append", "execute", "self-check", "sign", "send"]
        begun = [ends[name][0] for name in order]
        assert begun == sorted(begun)
        assert all(began <= ended <= ends["task"][1] for began, ended in ends.values())
        said = {each.key: each.value.string_value or each.value.int_value for each in root.attributes}
        assert (said["listener.rule"], said["listener.chain"], said["listener.block"]) == ("blocks", "l2", 11)
        assert (said["listener.state"], said["listener.task"]) == ("accepted", 1)
        await node.mine()
        await run.until(lambda: Following(tmp_path / "config.toml").states()[-1:] == [(12, "accepted")])
        run.process.send_signal(signal.SIGTERM)
        assert await run.ended() == 0
    # What was left is sent at the end.
    assert collector.names() == sorted(expected * 2)
    assert {each["service.name"] for each in collector.resources} == {"listener"}
    assert collector.authorizations == {f"Bearer {SECRET}"}
    assert "traces" not in run.text


async def test_a_collector_that_refuses_or_is_away_costs_no_task_and_no_secret(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path, collector: Collector
) -> None:
    collector.status = 401
    async with running(write_config(tmp_path, [node.ws_url], BLOCKS, aggregator=aggregator.url)) as run:
        await run.logged("chain.begun")
        await node.mine()
        await run.logged("task.accepted")
        await run.logged("library.complained")
        run.process.send_signal(signal.SIGTERM)
        assert await run.ended() == 0
    assert SECRET not in run.text


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf"),
    ],
)
async def test_nothing_of_it_is_loaded_where_traces_are_not_sent(  # noqa: PLR0917 - fixtures
    node: FakeNode,
    aggregator: Aggregator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    said: str | None,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config = write_config(tmp_path, [node.ws_url], LOADED, aggregator=aggregator.url)
    (tmp_path / "loaded.py").write_text(LOADED_PY)
    async with running(config) as run:
        await run.logged("chain.begun")
        await node.mine()
        await run.logged("task.accepted")
    assert Following(config).rows[0]["proof_of_task"] == "11 opentelemetry=False"
    unavailable = [line["reason"] for line in run.lines if line["event"] == "traces.unavailable"]
    assert len(unavailable) == (said is not None)
    assert said is None or said in unavailable[0]
