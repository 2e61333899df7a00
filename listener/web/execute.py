"""``POST /task/execute``: a task that somebody asks for, journaled before it is promised."""

import asyncio
import json
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import structlog
from aiohttp import web
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt

from listener.errors import BadBody
from listener.handlers import read_body
from listener.journal import Asked, Journal, Taken
from listener.logs import redacted
from listener.loops import begin_thread
from listener.model import State
from listener.web.envelope import Refused, envelope
from listener.web.query import Question, asked, checked, read_object
from listener.web.route import REFERENCE, Route
from listener.web.waits import Waits

log = structlog.get_logger()

CHECK_S = 5.0  # for a body to be checked
OVERDUE_MOST = 16  # checks of one rule that hang; with more of them none is begun
CURSOR_S = 5.0  # for a chain that was not read yet, on its first run
KEY = "Idempotency-Key"
DEFINITION = "taskDefinitionId"


@dataclass(frozen=True, slots=True)
class Executable:
    """A rule that is executed on request, and the model of its body, where its task has one."""

    rule: str
    task_definition_id: int
    chain: str
    body: type[BaseModel] | None


def _whole(value: Any) -> Any:
    """Take 7.0 for 7, as JSON Schema does, and ``/task/validate``."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Addressed(BaseModel):
    """What every body holds; the rest is for the task."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True, defer_build=True)

    task_definition_id: Annotated[StrictInt, BeforeValidator(_whole), Field(alias=DEFINITION, ge=0, le=65535)]


class Keyed(Question):
    """The header that tells a repeated request from another one."""

    key: str | None = Field(
        default=None,
        alias=KEY,
        pattern=r"^[!-~]{1,255}$",
        description="The same key with the same body is the same task; with another body it is refused.",
    )


class Wait(Question):
    """Whether to answer when the task has come to an end."""

    wait: bool = Field(default=False, description="Answer when the task was accepted, or has failed.")
    wait_s: float | None = Field(default=None, gt=0, le=3600, description="For so many seconds at most.")


class Execute:
    """Answers ``/task/execute``."""

    def __init__(
        self, executables: Sequence[Executable], journal: Journal, waits: Waits, *, longest_wait_s: float
    ) -> None:
        self._executables = {each.task_definition_id: each for each in executables}
        self._journal = journal
        self._waits = waits
        self._longest_wait_s = longest_wait_s
        self._overdue: Counter[str] = Counter()  # checks of bodies that go on, by rule
        self.route = Route(
            method="POST",
            path="/task/execute",
            handler=self._execute,
            guarded=True,
            summary="Have a task executed, once for each Idempotency-Key.",
            query=Wait,
            headers=Keyed,
            body=self._schema,
            statuses=(202, 400, 404, 409),
        )

    async def _execute(self, request: web.Request) -> web.Response:
        wait = asked(Wait, request.query)
        key = _key(request)
        body = await read_object(request)
        definition = checked(Addressed, body).task_definition_id
        executable = self._executables.get(definition)
        if executable is None:
            known = ", ".join(map(str, sorted(self._executables))) or "none"
            raise Refused(404, f"no rule of type http has the task_definition_id {definition}; known: {known}")
        del body[DEFINITION]
        await self._check(executable, body)
        taken = await self._ask(executable, key, body)
        if not taken.same_body:
            raise Refused(409, f"{KEY} {key} was given with another body, for task {taken.task}")
        row = None
        if wait.wait:
            row = await self._waits.ended(taken.task, min(wait.wait_s or self._longest_wait_s, self._longest_wait_s))
        return _journaled(taken.task) if row is None else _ended(row)

    async def _ask(self, executable: Executable, key: str | None, body: Mapping[str, Any]) -> Taken:
        """Journal the request; on disk when this returns."""
        wanted = Asked(
            rule=executable.rule,
            chain=executable.chain,
            trigger="http",
            cause=f"key {key}" if key is not None else f"fresh {uuid.uuid4().hex}",
            due=int(time.time()),
            body=body,
        )
        try:
            async with asyncio.timeout(CURSOR_S):
                return await self._journal.ask(wanted)
        except TimeoutError:
            message = f"chain {executable.chain} could not be read yet; try again, with the same {KEY}"
            raise Refused(503, message, headers={"Retry-After": "5"}) from None

    async def _check(self, executable: Executable, body: Mapping[str, Any]) -> None:
        """
        Refuse a body that the task's own model does not take.

        Its validators are anybody's code, so each runs in a thread that nobody has to wait for: in a pool, those that
        hang would leave no thread for others, and none for the daemon's end.
        """
        if executable.body is None:
            return
        rule = executable.rule
        if self._overdue[rule] >= OVERDUE_MOST:
            raise Refused(
                503, f"rule {rule}: {self._overdue[rule]} checks of its Body hang", headers={"Retry-After": "5"}
            )
        _, ended = begin_thread(read_body, executable.body, json.dumps(body), name=f"body {rule}")
        done, _ = await asyncio.wait([ended], timeout=CHECK_S)
        if not done:
            self._overdue[rule] += 1
            ended.add_done_callback(lambda _ended: self._overdue.subtract([rule]))
            log.warning("body.overdue", rule=rule, limit_s=CHECK_S)
            raise Refused(503, f"rule {rule}: its Body did not say within {CHECK_S:g} s whether this fits")
        _, error = ended.result()
        if isinstance(error, BadBody):
            raise Refused(400, redacted("; ".join(str(error).splitlines()))) from error
        if error is not None:  # it ends a thread, and must not end more
            raise Refused(400, f"Body in {executable.body.__module__} raised {type(error).__name__}") from error

    def _schema(self) -> dict[str, Any]:
        """Describe the bodies, one for each task definition."""
        bodies = [_body_schema(each) for each in self._executables.values()]
        if not bodies:
            return Addressed.model_json_schema(ref_template=REFERENCE)
        named = {name: model for each in bodies for name, model in each.pop("$defs").items()}
        return {"$defs": named, "oneOf": bodies}


def _key(request: web.Request) -> str | None:
    given = request.headers.getall(KEY, [])
    if len(given) > 1:
        raise Refused(400, f"{KEY}: given {len(given)} times; once is enough")
    return checked(Keyed, {KEY: given[0]} if given else {}).key


def _body_schema(executable: Executable) -> dict[str, Any]:
    """Describe one rule's body; its models are called after the rule, for two tasks may have models of one name."""
    schema: dict[str, Any] = {"type": "object"}
    if executable.body is not None:
        try:
            schema = executable.body.model_json_schema(
                ref_template=REFERENCE.format(model=f"{executable.rule}.{{model}}")
            )
        except Exception as error:  # noqa: BLE001 -- types of the user's, of which JSON Schema may know nothing
            log.warning("http.not_described", rule=executable.rule, reason=type(error).__name__)
    return {
        **schema,
        "$defs": {f"{executable.rule}.{name}": model for name, model in schema.get("$defs", {}).items()},
        "title": executable.rule,
        "properties": {DEFINITION: {"const": executable.task_definition_id}, **schema.get("properties", {})},
        "required": [DEFINITION, *schema.get("required", [])],
    }


def _journaled(task: int) -> web.Response:
    where = {"Location": f"/api/tasks/{task}"}
    return envelope({"taskId": task}, "the task is journaled, and will be executed", status=202, headers=where)


def _ended(row: Mapping[str, Any]) -> web.Response:
    """Say how a task ended."""
    state, reason = row["state"], row["error"] or "no reason was given"
    if state in {State.ACCEPTED, State.APPROVED, State.UNKNOWN}:
        data = {"proofOfTask": row["proof_of_task"], "data": row["data"], DEFINITION: row["task_definition_id"]}
        return envelope(data, f"task {row['id']} is {state}")
    if state == State.SKIPPED:
        return envelope(None, f"task {row['id']} is skipped: {reason}")
    raise Refused(500, f"task {row['id']} is {state}: {reason}")
