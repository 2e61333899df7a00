"""``/api/…``: what the command line shows of the journal, for pages and scripts."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import orjson
from aiohttp import web
from pydantic import Field
from sqlalchemy import Connection

from listener.errors import JournalError
from listener.journal import incidents, rows
from listener.journal.incidents import Kind, Wanted
from listener.journal.readings import Readings
from listener.journal.rows import Filter
from listener.logs import redacted
from listener.model import State
from listener.web.envelope import TYPE, Refused, envelope
from listener.web.query import LARGEST, MANY, Moment, Name, Question, asked, checked, micros
from listener.web.route import Handler, Route

Number = Annotated[int, Field(ge=0, le=LARGEST)]
Block = Annotated[str, Field(pattern=r"^[0-9]{1,18}(\.\.[0-9]{1,18})?$", description="Only block N, or blocks A..B.")]
ERRORS_SHOWN = 5


class Page(Question):
    """A piece of a list."""

    limit: int = Field(default=100, ge=1, le=1000, description="At most so many.")
    cursor: Number | None = Field(default=None, description="`next` of the page before.")
    order: Literal["oldest", "newest"] = Field(default="oldest", description="Which come first.")


class TasksWanted(Page):
    """The filters of ``listener tasks list``."""

    state: list[State] = Field(default=[], json_schema_extra=MANY, description="Only these states.")
    rule: Name | None = Field(default=None, description="Only this rule.")
    block: Block | None = None
    since: Moment | None = Field(default=None, description="Only tasks made at or after this time.")
    until: Moment | None = Field(default=None, description="Only tasks made before this time.")


class IncidentsWanted(Page):
    """The filters of ``listener incidents list``."""

    kind: list[Kind] = Field(default=[], json_schema_extra=MANY, description="Only these kinds.")
    chain: Name | None = Field(default=None, description="Only this chain.")
    since: Moment | None = Field(default=None, description="Only what began or lasted after this time.")


class TaskNamed(Question):
    """The path of one task."""

    id: Annotated[str, Field(pattern=r"^[0-9]{1,18}$", description="The task's id.")]


class Nothing(Question):
    """A request without a query."""


class Reads:
    """Answers with rows of the journal."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings
        self.routes = [
            self._route("/api/tasks", self._tasks, "The tasks of the journal.", TasksWanted),
            self._route("/api/tasks/{id}", self._task, "One task.", Nothing, TaskNamed),
            self._route("/api/chains", self._chains, "Every chain that was followed.", Nothing),
            self._route("/api/incidents", self._incidents, "What went wrong and was borne.", IncidentsWanted),
            self._route("/api/status", self._status, "Chains, tasks by rule and state, last errors.", Nothing),
        ]

    def _route(
        self, path: str, handler: Handler, summary: str, query: type[Question], named: type[Question] | None = None
    ) -> Route:
        return Route(
            method="GET",
            path=path,
            handler=handler,
            guarded=True,
            summary=summary,
            query=query,
            named=named,
            enveloped=path == "/api/status",
            statuses=(400,) if named is None else (400, 404),
        )

    async def _tasks(self, request: web.Request) -> web.Response:
        wanted = asked(TasksWanted, request.query)
        first, _, last = (wanted.block or "").partition("..")
        filtered = Filter(
            states=wanted.state,
            rule=wanted.rule,
            blocks=(int(first), int(last or first)) if first else None,
            since=micros(wanted.since),
            until=micros(wanted.until),
            limit=wanted.limit + 1,
            newest_first=wanted.order == "newest",
            after=wanted.cursor,
        )
        return _page(await self._read(lambda connection: list(rows.list_tasks(connection, filtered))), wanted.limit)

    async def _task(self, request: web.Request) -> web.Response:
        asked(Nothing, request.query)
        task = int(checked(TaskNamed, request.match_info).id)
        found = await self._read(lambda connection: rows.find_task(connection, task))
        if found is None:
            raise Refused(404, f"there is no task {task}")
        return _json(found)

    async def _chains(self, request: web.Request) -> web.Response:
        asked(Nothing, request.query)
        return _json({"data": await self._read(rows.list_chains), "next": None})

    async def _incidents(self, request: web.Request) -> web.Response:
        wanted = asked(IncidentsWanted, request.query)
        filtered = Wanted(
            kinds=wanted.kind,
            chain=wanted.chain,
            since=micros(wanted.since),
            limit=wanted.limit + 1,
            newest_first=wanted.order == "newest",
            after=wanted.cursor,
        )
        return _page(await self._read(lambda connection: list(incidents.rows(connection, filtered))), wanted.limit)

    async def _status(self, request: web.Request) -> web.Response:
        asked(Nothing, request.query)
        return envelope(await self._read(_summary))

    async def _read(self, work: Callable[[Connection], Any]) -> Any:
        try:
            return await self._readings.read(work)
        except JournalError as error:
            raise Refused(503, redacted(str(error)), headers={"Retry-After": "1"}) from error


def _summary(connection: Connection) -> dict[str, Any]:
    return {
        "chains": rows.list_chains(connection),
        "tasks": rows.count_tasks(connection),
        "errors": rows.last_errors(connection, ERRORS_SHOWN),
    }


def _page(found: Sequence[dict[str, Any]], limit: int) -> web.Response:
    """Answer with a page; there is a next one if a row was found that it does not hold."""
    page = found[:limit]
    return _json({"data": page, "next": page[-1]["id"] if len(found) > limit else None})


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type=TYPE)
