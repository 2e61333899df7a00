"""
The stage that sends traces: one for each task, from its block to its end, as OpenTelemetry has them.

Spans are made after the fact, of notes (``traces.py``) and of the task's row. The ids of a trace and of its root follow
from the task's key, so that every process that has the task in hand adds to one trace. Only the daemons that are told
to (``config/traces.py``) load this module: it needs the extra ``otel``.
"""

import asyncio
import hashlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags, set_span_in_context
from sqlalchemy import Connection, select

from listener.errors import JournalError
from listener.journal.readings import Readings
from listener.journal.schema import tasks
from listener.model import State
from listener.traces import Note, Notebook

log = structlog.get_logger()

LOOK_S = 1.0  # between two looks at the notes
BATCH = 400  # notes at a time: their rows are one query
CLOSE_S = 5.0  # for what is left when we stop; a collector that is away must not hold up the end
_SECOND = 1_000_000  # in the journal's microseconds
_COLUMNS = (
    *(tasks.c.id, tasks.c.key, tasks.c.rule, tasks.c.state, tasks.c.trigger, tasks.c.chain, tasks.c.block_number),
    *(tasks.c.block_hash, tasks.c.block_timestamp, tasks.c.due, tasks.c.transaction_hash, tasks.c.log_index),
    *(tasks.c.task_definition_id, tasks.c.attempts, tasks.c.sends, tasks.c.created_at, tasks.c.accepted_at),
    *(tasks.c.settled_at, tasks.c.error, tasks.c.orphaned),
)
_ENDS = {State.ACCEPTED, State.SKIPPED, State.EXPIRED, State.FAILED, State.CANCELLED, State.DISCARDED}


class Ids(RandomIdGenerator):
    """Gives roots the ids that follow from their task's key."""

    def __init__(self) -> None:
        self.trace = 0
        self.root = 0

    def point_at(self, key: str) -> None:
        """Take the ids of a task; the next span without a parent has them."""
        digest = hashlib.sha256(key.encode()).digest()
        self.trace, self.root = int.from_bytes(digest[:16]), int.from_bytes(digest[16:24])

    def generate_trace_id(self) -> int:
        """Give the trace's id."""
        return self.trace

    def generate_span_id(self) -> int:
        """Give the root's id."""
        return self.root

    def parent(self) -> Any:
        """Give a context in which spans are children of the root."""
        span = SpanContext(self.trace, self.root, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
        return set_span_in_context(NonRecordingSpan(span))


class Tracer:
    """Makes spans of notes and rows, and sends them."""

    name = "tracer"

    def __init__(self, notebook: Notebook, readings: Readings, exporter: SpanExporter) -> None:
        self._notebook = notebook
        self._readings = readings
        self._ids = Ids()
        self._told = 0  # of notes that were dropped
        resource = Resource.create()
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):  # nobody has named it
            resource = resource.merge(Resource({SERVICE_NAME: "listener"}))
        batches = BatchSpanProcessor(exporter)
        # Two providers, because the ids of roots are given and those of their children are random.
        self._roots = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._children = TracerProvider(resource=resource, shutdown_on_exit=False)
        for each in (self._roots, self._children):
            each.add_span_processor(batches)
        self._root, self._child = (each.get_tracer("listener") for each in (self._roots, self._children))

    async def run(self, stop: asyncio.Event) -> None:
        """Send what is noted until asked to stop; ``close`` sends the rest."""
        while not stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await stop.wait()
            await self.look()

    async def look(self) -> None:
        """Make spans of all notes that wait."""
        while notes := self._notebook.take(BATCH):
            try:
                rows = await self._readings.read(partial(_rows, ids={note.task for note in notes}))
            except JournalError as error:  # whoever has to write tells of it
                log.debug("traces.not_read", reason=str(error))
                return
            for note in notes:
                if note.task in rows:
                    self._tell(note, rows[note.task])
        if self._notebook.dropped > self._told:
            log.warning("traces.dropped", notes=self._notebook.dropped - self._told)
            self._told = self._notebook.dropped

    async def close(self) -> None:
        """Send what is left, as far as the collector takes it within some seconds."""
        await self.look()
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self._roots.shutdown()  # of what both stand on
            with suppress(RuntimeError):  # the loop is gone: we did not wait any longer
                loop.call_soon_threadsafe(ended.set)

        # Not in the loop's pool, whose threads are waited for at the end of the process.
        threading.Thread(target=shut_down, name="traces", daemon=True).start()
        try:
            async with asyncio.timeout(CLOSE_S):
                await ended.wait()
        except TimeoutError:
            log.warning("traces.cut_off", after_s=CLOSE_S)

    def _tell(self, note: Note, row: Any) -> None:
        self._ids.point_at(row.key)
        # One decision for the whole trace, the same in every process: samplers look at the trace's id.
        if self._roots.sampler.should_sample(None, self._ids.trace, "task").decision != Decision.RECORD_AND_SAMPLE:
            return
        common = _common(row)
        if note.name is not None:
            said = {"listener.state": note.said, "listener.attempt": note.attempt}
            self._span(self._child, note.name, note.began, note.ended, common | said, note.error, self._ids.parent())
        if note.is_last and row.state in _ENDS:
            self._tell_end(row, common)

    def _tell_end(self, row: Any, common: dict[str, Any]) -> None:
        began = min((row.block_timestamp if row.due is None else row.due) * _SECOND, row.created_at)
        ended = row.accepted_at or row.settled_at or row.created_at
        self._span(self._child, "append", began, row.created_at, common, None, self._ids.parent())
        self._span(self._root, "task", began, ended, common | _facts(row), _failure(row), None)

    def _span(  # noqa: PLR0913, PLR0917 - what a span is
        self,
        tracer: Any,
        name: str,
        began: int,
        ended: int,
        attributes: Mapping[str, Any],
        error: str | None,
        parent: Any,
    ) -> None:
        known = {key: value for key, value in attributes.items() if value is not None and value != ""}
        span = tracer.start_span(name, context=parent, start_time=began * 1000, attributes=known)
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(max(began, ended) * 1000)


def _rows(connection: Connection, ids: Iterable[int]) -> dict[int, Any]:
    found: Sequence[Any] = connection.execute(select(*_COLUMNS).where(tasks.c.id.in_(ids))).all()
    return {row.id: row for row in found}


def _common(row: Any) -> dict[str, Any]:
    return {
        "listener.task": row.id,
        "listener.rule": row.rule,
        "listener.chain": row.chain,
        "listener.block": row.block_number,
    }


def _facts(row: Any) -> dict[str, Any]:
    """Give what the whole trace is about: names, numbers and hashes, nothing that a handler or a request said."""
    return {
        "listener.key": row.key,
        "listener.trigger": row.trigger,
        "listener.state": str(row.state),
        "listener.block_hash": _hex(row.block_hash),
        "listener.transaction_hash": _hex(row.transaction_hash),
        "listener.log_index": row.log_index,
        "listener.task_definition_id": row.task_definition_id,
        "listener.attempts": row.attempts,
        "listener.sends": row.sends,
        "listener.orphaned": bool(row.orphaned),
        "listener.reason": row.error,
    }


def _failure(row: Any) -> str | None:
    return row.error or "failed" if row.state == State.FAILED else None


def _hex(value: bytes | None) -> str | None:
    return None if value is None else "0x" + value.hex()
