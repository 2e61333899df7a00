"""``listener tasks``: the journal's tasks, for people and for scripts."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from listener.cli.run import CONFIG, ConfigPath
from listener.errors import NotPossible

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from listener.journal.rows import Filter

LARGEST = 2**63 - 1  # what a database takes for an integer
TaskId = Annotated[int, typer.Argument(min=0, max=LARGEST, help="The task's id.")]
States = Annotated[list[str] | None, typer.Option(help="Only this state; may be repeated.")]
RuleName = Annotated[str | None, typer.Option(help="Only this rule.")]
Blocks = Annotated[str | None, typer.Option(help="Only this block N, or blocks A..B.")]
Since = Annotated[str | None, typer.Option(help="Only tasks made at or after this RFC 3339 time.")]
Until = Annotated[str | None, typer.Option(help="Only tasks made before this RFC 3339 time.")]
Limit = Annotated[int | None, typer.Option(min=1, max=LARGEST, help="At most so many.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
SHOWN = ("id", "rule", "state", "block_number", "proof_of_task", "sends", "created_at", "error")

commands = typer.Typer(no_args_is_help=True, help="List, show, retry, discard and export tasks.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="tasks")


@commands.command("list")
def list_(  # noqa: PLR0913, PLR0917 - one for each option
    config: ConfigPath = CONFIG,
    state: States = None,
    rule: RuleName = None,
    block: Blocks = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    json: AsJson = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """
    List tasks, oldest first.

    Example: listener tasks list --state failed --json
    """
    wanted = _filter(state, rule, block, since, until, limit)
    with reading(config) as connection:
        _print_lines(connection, wanted) if json else _print_table(connection, wanted)


@commands.command()
def show(
    task: TaskId,
    config: ConfigPath = CONFIG,
    json: AsJson = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """
    Show one task with everything that is known of it.

    Example: listener tasks show 17
    """
    from listener.journal.rows import find_task, list_replaced  # noqa: PLC0415

    with reading(config) as connection:
        found = find_task(connection, task)
        set_aside = [] if found is None or json else list_replaced(connection, task)
    if found is None:
        raise NotPossible(f"task {task}: there is none of this id; `listener tasks list` shows them")
    if json:
        _write(found)
        return
    width = max(map(len, found))
    for name, value in found.items():
        typer.echo(f"{name:<{width}}  {'' if value is None else value}")
    for payload in set_aside:
        typer.echo("")
        for name, value in payload.items():
            typer.echo(f"{name:<{width}}  {value}")


@commands.command()
def retry(
    task: TaskId,
    config: ConfigPath = CONFIG,
    *,
    re_execute: Annotated[
        bool, typer.Option("--re-execute", help="Make a new payload, though there is one; the old one is kept.")
    ] = False,
) -> None:
    """
    Try a task again: without a payload its handler runs, with one the same bytes are sent.

    The daemon may run meanwhile, and takes it up within seconds.

    Example: listener tasks retry 17
    """
    from listener.config import load  # noqa: PLC0415
    from listener.journal import now_us, operator  # noqa: PLC0415

    settings = load(config, os.environ, require_key=False)
    homes = {rule.name: settings.chain_of(rule).name for rule in settings.rules}
    with writing(config) as connection:
        done = operator.retry(connection, task, now_us(), re_execute=re_execute, homes=homes)
    if done.has_new_payload and done.may_be_sent:
        typer.echo(
            f"warning: task {task}: its old payload may have been taken, the new one is a second effect", err=True
        )
    what = "its handler runs" if done.now == "pending" else "the same bytes are sent"
    aside = "; the old payload is set aside, see `listener tasks show`" if done.has_new_payload else ""
    typer.echo(f"task {task} was {done.before}, is {done.now}: {what} as soon as a daemon takes it up{aside}")


@commands.command()
def discard(task: TaskId, config: ConfigPath = CONFIG) -> None:
    """
    Put a task away: it is neither executed nor sent any more. `retry` takes it back.

    The daemon may run meanwhile. What it has in hand is not called back: the result of a handler is dropped, but a
    send that has begun may still be taken, and then the task is accepted.

    Example: listener tasks discard 17
    """
    from listener.journal import now_us, operator  # noqa: PLC0415

    with writing(config) as connection:
        done = operator.discard(connection, task, now_us())
    sent = "; a send of it may have begun, and may still be taken" if done.may_be_sent else ""
    typer.echo(f"task {task} was {done.before}, is {done.now}{sent}")


@commands.command()
def export(  # noqa: PLR0913, PLR0917 - one for each option
    config: ConfigPath = CONFIG,
    state: States = None,
    rule: RuleName = None,
    block: Blocks = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
) -> None:
    """
    Write tasks as JSON, one object a line with all that `tasks show --json` has, oldest first.

    Example: listener tasks export --since 2026-01-01T00:00:00Z > tasks.jsonl
    """
    wanted = _filter(state, rule, block, since, until, limit)
    with reading(config) as connection:
        _print_lines(connection, wanted)


@contextmanager
def reading(config: Path) -> Iterator["Connection"]:
    """
    Open the journal for a listing, which makes none where there is none.

    Raises:
        JournalError: it is not there, not set up yet, or no journal at all.
    """
    from listener.config import load  # noqa: PLC0415 - see cli/__init__.py
    from listener.journal.database import listing  # noqa: PLC0415

    with listing(load(config, os.environ, require_key=False).journal.place) as connection:
        yield connection


@contextmanager
def writing(config: Path) -> Iterator["Connection"]:
    """
    Open the journal for one decision, beside a daemon that may own it; synced to disk when this ends.

    Raises:
        JournalError: as for reading; it is of another version; or somebody holds its write lock.
    """
    from listener.config import load  # noqa: PLC0415 - see cli/__init__.py
    from listener.journal.database import deciding  # noqa: PLC0415

    with deciding(load(config, os.environ, require_key=False).journal.place) as connection:
        yield connection


def _print_lines(connection: "Connection", wanted: "Filter") -> None:
    from listener.journal.rows import list_tasks  # noqa: PLC0415

    for row in list_tasks(connection, wanted):
        _write(row)


def _print_table(connection: "Connection", wanted: "Filter") -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from listener.journal.rows import list_tasks  # noqa: PLC0415

    table = Table(*SHOWN, box=None)
    for row in list_tasks(connection, wanted):
        table.add_row(*("" if row[name] is None else str(row[name]) for name in SHOWN))
    Console().print(table)


def _write(row: dict[str, Any]) -> None:
    import orjson  # noqa: PLC0415

    sys.stdout.buffer.write(orjson.dumps(row) + b"\n")


def _filter(  # noqa: PLR0913, PLR0917 - one for each option
    state: list[str] | None,
    rule: str | None,
    block: str | None,
    since: str | None,
    until: str | None,
    limit: int | None,
) -> "Filter":
    from listener.journal.rows import Filter  # noqa: PLC0415 - see cli/__init__.py

    if rule is not None and not rule.isprintable():
        raise typer.BadParameter(f"{rule!a} is no name of a rule", param_hint="--rule")
    return Filter(
        states=_states(state or []),
        rule=rule,
        blocks=_blocks(block),
        since=as_micros(since, "--since"),
        until=as_micros(until, "--until"),
        limit=limit,
    )


def _states(given: list[str]) -> list[str]:
    from listener.model import State  # noqa: PLC0415

    for state in given:
        if state not in list(State):
            raise typer.BadParameter(f"{state} is not a state; it is one of {', '.join(State)}", param_hint="--state")
    return given


def _blocks(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)(?:\.\.(\d+))?", text)
    if found is None:
        raise typer.BadParameter(f"{text} is neither N nor A..B", param_hint="--block")
    first, last = int(found[1]), int(found[2] or found[1])
    if not first <= last <= LARGEST:
        raise typer.BadParameter(f"{text}: B is smaller than A, or larger than any block", param_hint="--block")
    return first, last


def as_micros(text: str | None, option: str) -> int | None:
    """Read an option that is a time, as microseconds since the epoch."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text} is not a time such as 2026-01-31T12:00:00Z", param_hint=option) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1_000_000)
