"""A task's trace is made of what was noted and of its row, with ids that follow from its key."""

import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs
from world import NOW, World, block, event, fired, signed

from listener import traces
from listener.app import Stage
from listener.app.tracers import tracers
from listener.config import trace_secrets, traces_wanted
from listener.errors import HandlerFailed
from listener.journal import Ended
from listener.journal.readings import Readings
from listener.model import State, TaskResult
from listener.runner.execution import Outcome
from listener.runner.noting import note_execution, note_signing
from listener.tracer import Tracer
from listener.traces import Note, Notebook

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    yield traces.open_notebook()
    traces.close_notebook()


class Traced:
    """A tracer over a world's journal, whose spans stay here."""

    def __init__(self, world: World, notebook: Notebook) -> None:
        self._readings = Readings(world.place)
        self._exporter = InMemorySpanExporter()
        self._tracer = Tracer(notebook, self._readings, self._exporter)

    async def spans(self) -> list[ReadableSpan]:
        await self._tracer.close()
        self._readings.close()
        return list(self._exporter.get_finished_spans())


def sent_note(state: State = State.ACCEPTED, *, error: str | None = None) -> Note:
    last = state != State.READY
    return Note(task=1, name="send", began=NOW, ended=NOW + 1000, said=state, error=error, is_last=last)


async def test_a_task_is_one_trace_from_its_block_to_its_end(world: World, notebook: Notebook) -> None:
    traced = Traced(world, notebook)
    await world.walk(event("events", block(11)))
    (task,) = await world.claim("events")
    outcome = Outcome(task, TaskResult("proof", b""), None, 0.5, checked_s=0.2)
    note_execution(notebook, [outcome], ended=NOW)
    await world.sign([task])
    note_signing(notebook, [signed(task)], NOW)
    await world.send_all()
    world.change("UPDATE tasks SET accepted_at = created_at + 5")
    notebook.add(sent_note())
    found = await traced.spans()
    spans = {span.name: span for span in found}
    assert len(found) == len(spans)
    root = spans["task"]
    assert spans.keys() == {"task", "append", "execute", "self-check", "sign", "send"}
    assert root.parent is None
    assert {span.context.trace_id for span in spans.values()} == {root.context.trace_id}
    children = [span for name, span in spans.items() if name != "task"]
    assert {span.parent.span_id for span in children if span.parent} == {root.context.span_id}
    assert len({span.context.span_id for span in spans.values()}) == len(spans)
    assert root.start_time == spans["append"].start_time == block(11).timestamp * 1_000_000_000
    assert root.end_time == world.row()["accepted_at"] * 1000
    assert spans["append"].end_time == world.row()["created_at"] * 1000
    ran, checked = spans["execute"], spans["self-check"]
    assert (ran.start_time, ran.end_time) == ((NOW - 500_000) * 1000, (NOW - 200_000) * 1000)
    assert (checked.start_time, checked.end_time) == ((NOW - 200_000) * 1000, NOW * 1000)
    for span in spans.values():
        said = dict(span.attributes or {})
        assert said["listener.rule"] == "events"
        assert (said["listener.chain"], said["listener.block"], said["listener.task"]) == ("l2", 11, 1)
    assert dict(root.attributes or {})["listener.state"] == "accepted"
    assert root.status.is_unset


async def test_another_process_goes_on_with_the_same_trace(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    found: list[ReadableSpan] = []
    for note in (sent_note(State.READY, error="away"), sent_note()):
        notebook = Notebook()
        traced = Traced(world, notebook)
        if note.is_last:
            await world.execute("blocks")
            await world.send_all()
        notebook.add(note)
        found += await traced.spans()
    first, second, _, root = found
    assert [span.name for span in found] == ["send", "send", "append", "task"]
    assert first.context.trace_id == second.context.trace_id == root.context.trace_id
    assert first.parent is not None
    assert first.parent.span_id == root.context.span_id
    assert first.context.span_id != second.context.span_id
    assert (first.status.is_ok, first.status.description) == (False, "away")


async def test_two_tasks_are_two_traces(world: World, notebook: Notebook) -> None:
    traced = Traced(world, notebook)
    await world.walk(fired("blocks", block(11)), fired("blocks-once", block(11)))
    for task in (1, 2):
        notebook.add(Note(task=task, name="send", began=NOW, ended=NOW, said="accepted"))
    one, two = await traced.spans()
    assert one.context.trace_id != two.context.trace_id


async def test_a_dead_letter_is_an_error_with_its_reason(world: World, notebook: Notebook) -> None:
    traced = Traced(world, notebook)
    await world.walk(fired("blocks", block(11)))
    (task,) = await world.claim("blocks")
    note_execution(notebook, [Outcome(task, None, HandlerFailed("no price"), 0.1)], ended=NOW)
    ended = Ended(task, State.FAILED, "attempt 1: no price")
    await world.journal.end([ended])
    traces.end(task.id)
    spans = {span.name: span for span in await traced.spans()}
    assert spans.keys() == {"execute", "append", "task"}
    assert spans["execute"].status.description == "no price"
    assert (spans["task"].status.is_ok, spans["task"].status.description) == (False, "attempt 1: no price")


async def test_what_is_signed_but_not_sent_has_no_end_yet(world: World, notebook: Notebook) -> None:
    traced = Traced(world, notebook)
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    notebook.add(Note(task=1, name="sign", began=NOW, ended=NOW, is_last=True))
    assert [span.name for span in await traced.spans()] == ["sign"]


async def test_a_sampler_decides_for_a_whole_trace(
    world: World, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")  # children would go where their root does not
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    traced = Traced(world, notebook)
    await world.walk(*(fired("blocks", block(number)) for number in range(11, 75)))
    for task in await world.claim("blocks"):
        note_execution(notebook, [Outcome(task, None, None, 0.1)], ended=NOW)
        ended = Ended(task, State.SKIPPED, "nothing to do")
        await world.journal.end([ended])
        traces.end(task.id)
    names: dict[int, set[str]] = {}
    for span in await traced.spans():
        names.setdefault(span.context.trace_id, set()).add(span.name)
    assert 0 < len(names) < 64
    assert all(each == {"execute", "append", "task"} for each in names.values())


def test_what_does_not_fit_the_notebook_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "MOST", 2)
    notebook = Notebook()
    for number in range(5):
        notebook.add(Note(task=number))
    assert [note.task for note in notebook.take(10)] == [0, 1]
    assert notebook.dropped == 3


async def test_nothing_is_kept_where_traces_are_not_configured(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    traces.end(1)
    assert traces.notebook is None


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
        {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
def test_an_endpoint_switches_traces_on(more: dict[str, str]) -> None:
    assert traces_wanted(ENDPOINT | more)


@pytest.mark.parametrize("off", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_they_can_be_switched_off_again(off: dict[str, str]) -> None:
    assert not traces_wanted(ENDPOINT | off)
    assert not traces_wanted({})
    assert not traces_wanted({"OTEL_SERVICE_NAME": "avs"})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER = zipkin: only otlp and none are offered"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL = grpc: only http/protobuf is offered"),
    ],
)
def test_what_is_not_offered_is_named(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        traces_wanted(ENDPOINT | given)


def test_headers_and_what_a_url_hides_are_secrets() -> None:
    found = trace_secrets(
        {
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20t0ken-of-ours,x-team = blue-team-key",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "https://user:passw0rd@collector/k3y-1234567890",
        }
    )
    assert {"Bearer t0ken-of-ours", "t0ken-of-ours", "blue-team-key", "passw0rd", "k3y-1234567890"} <= set(found)
    assert trace_secrets({}) == []


async def test_without_the_extra_there_is_one_warning_that_says_how_to_get_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    reason = "the extra is not installed: pip install 'listener[otel]'"
    assert stages_and_reasons(world) == ([], [reason])
    assert traces.notebook is None


async def test_what_the_sdk_cannot_read_is_one_warning(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    stages, reasons = stages_and_reasons(world)
    assert (stages, len(reasons)) == ([], 1)
    assert traces.notebook is None


def stages_and_reasons(world: World) -> tuple[list[Stage], list[str]]:
    readings = Readings(world.place)
    with capture_logs() as lines:
        stages = tracers(readings, AsyncExitStack())
    readings.close()
    return stages, [line["reason"] for line in lines if line["event"] == "traces.unavailable"]
