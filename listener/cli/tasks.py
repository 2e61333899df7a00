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
from listener.errors import JournalError, ListenerError, NotAvailable

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from listener.journal.rows import Filter

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
SHOWN = ("id", "rule", "state", "block_number", "proof_of_task", "sends", "created_at", "error")

commands = typer.Typer(no_args_is_help=True, help="List and show tasks.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="tasks")


@commands.command("list")
def list_(  # noqa: PLR0913, PLR0917 - one for each option
    config: ConfigPath = CONFIG,
    state: Annotated[list[str] | None, typer.Option(help="Only this state; may be repeated.")] = None,
    rule: Annotated[str | None, typer.Option(help="Only this rule.")] = None,
    block: Annotated[str | None, typer.Option(help="Only this block N, or blocks A..B.")] = None,
    since: Annotated[str | None, typer.Option(help="Only tasks made at or after this RFC 3339 time.")] = None,
    until: Annotated[str | None, typer.Option(help="Only tasks made before this RFC 3339 time.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    json: AsJson = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """
    List tasks, oldest first.

    Example: listener tasks list --state failed --json
    """
    from listener.journal.rows import Filter  # noqa: PLC0415 - see cli/__init__.py

    wanted = Filter(
        states=_states(state or []),
        rule=rule,
        blocks=_blocks(block),
        since=as_micros(since, "--since"),
        until=as_micros(until, "--until"),
        limit=limit,
    )
    with reading(config) as connection:
        _print_lines(connection, wanted) if json else _print_table(connection, wanted)


@commands.command()
def show(
    task: Annotated[int, typer.Argument(help="The task's id.")],
    config: ConfigPath = CONFIG,
    json: AsJson = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """
    Show one task with everything that is known of it.

    Example: listener tasks show 17
    """
    from listener.journal.rows import find_task  # noqa: PLC0415

    with reading(config) as connection:
        found = find_task(connection, task)
    if found is None:
        raise ListenerError(f"task {task}: there is none of this id; `listener tasks list` shows them")
    if json:
        _write(found)
        return
    width = max(map(len, found))
    for name, value in found.items():
        typer.echo(f"{name:<{width}}  {'' if value is None else value}")


@commands.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def retry() -> None:
    """Not available yet."""
    raise NotAvailable("tasks retry: not available yet")


@commands.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def discard() -> None:
    """Not available yet."""
    raise NotAvailable("tasks discard: not available yet")


@commands.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def export() -> None:
    """Not available yet."""
    raise NotAvailable("tasks export: not available yet")


@contextmanager
def reading(config: Path) -> Iterator["Connection"]:
    """
    Open the journal for a listing, which makes none where there is none.

    Raises:
        JournalError: it is not there, not set up yet, or no journal at all.
    """
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - see cli/__init__.py

    from listener.config import load  # noqa: PLC0415
    from listener.journal.database import open_engine, require  # noqa: PLC0415

    path = load(config, os.environ, require_key=False).journal.path
    require(path)
    if path.stat().st_size == 0:  # opening it would already write to it
        raise JournalError(f"journal {path}: it is empty; `listener run` sets it up")
    try:
        with open_engine(path).connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise JournalError(f"journal {path}: {getattr(error, 'orig', None) or error}") from error


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
    first = int(found[1])
    return first, int(found[2] or first)


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
