"""``listener incidents``: what went wrong and was borne, for people and for scripts."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from listener.cli.run import CONFIG, ConfigPath
from listener.cli.tasks import AsJson, as_micros, reading

if TYPE_CHECKING:
    from sqlalchemy import Connection

commands = typer.Typer(no_args_is_help=True, help="List gaps, reconnects, reorgs and halts.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="incidents")


@commands.command("list")
def list_(
    config: ConfigPath = CONFIG,
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind; may be repeated.")] = None,
    chain: Annotated[str | None, typer.Option(help="Only this chain.")] = None,
    since: Annotated[str | None, typer.Option(help="Only what began or lasted after this RFC 3339 time.")] = None,
    json: AsJson = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """
    List incidents, oldest first: gaps, reconnects, reorgs, halts, and what the audit found.

    Example: listener incidents list --kind reorg --since 2026-01-31T12:00:00Z --json
    """
    import orjson  # noqa: PLC0415 - see cli/__init__.py

    from listener.journal.incidents import FIELDS, Kind, Wanted, rows  # noqa: PLC0415
    from listener.rules.nearest import suggestion  # noqa: PLC0415

    for each in kind or []:
        if each not in list(Kind):
            raise typer.BadParameter(f"{each} is not a kind{suggestion(each, Kind)}", param_hint="--kind")
    wanted = Wanted(kinds=kind or (), chain=chain, since=as_micros(since, "--since"))
    with reading(config) as connection:
        if chain is not None and chain not in (known := _chains(connection, config)):
            raise typer.BadParameter(f"no chain {chain}{suggestion(chain, known)}", param_hint="--chain")
        if json:
            for row in rows(connection, wanted):
                sys.stdout.buffer.write(orjson.dumps(row) + b"\n")
            return
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        table = Table(*FIELDS, box=None)
        for row in rows(connection, wanted):
            table.add_row(*("" if row[name] is None else str(row[name]) for name in FIELDS))
        Console().print(table)


def _chains(connection: "Connection", config: Path) -> set[str]:
    """Return the chains that are followed or were: incidents outlive their chain's place in the configuration."""
    from listener.config import load  # noqa: PLC0415 - see cli/__init__.py
    from listener.journal.incidents import chains_of  # noqa: PLC0415

    return chains_of(connection) | load(config, os.environ, require_key=False).chains.keys()
