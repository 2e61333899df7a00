"""``listener chains``: where each chain stands, and the way out of a halt."""

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from listener.cli.run import CONFIG, ConfigPath
from listener.cli.tasks import LARGEST, AsJson, reading
from listener.errors import ConfigError

if TYPE_CHECKING:
    from listener.follower.rewind import Rewound

SHOWN = ("name", "chain_id", "cursor", "head", "lag", "state", "error")

commands = typer.Typer(no_args_is_help=True, help="List chains and move their cursors.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="chains")


@commands.command("list")
def list_(
    config: ConfigPath = CONFIG,
    json: AsJson = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """
    List every chain that was followed: its cursor, its head, and whether it is halted.

    Example: listener chains list --json
    """
    import orjson  # noqa: PLC0415 - see cli/__init__.py

    from listener.journal.rows import list_chains  # noqa: PLC0415

    with reading(config) as connection:
        rows = list_chains(connection)
    if json:
        for row in rows:
            sys.stdout.buffer.write(orjson.dumps(row) + b"\n")
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(*SHOWN, box=None)
    for row in rows:
        table.add_row(*("" if row[name] is None else str(row[name]) for name in SHOWN))
    Console().print(table)


@commands.command()
def rewind(
    name: Annotated[str, typer.Argument(help="The chain, as config.toml names it.")],
    to: Annotated[str, typer.Option(help="The block number to go on from, or latest.")],
    config: ConfigPath = CONFIG,
) -> None:
    """
    Put a chain's cursor on block N, or on the newest block. The daemon must be stopped.

    Unsent tasks above it are cancelled, and come back if their block does. Nothing is signed twice.

    Example: listener chains rewind l2 --to 1200000
    """
    number = None if to == "latest" else int(to) if to.isdecimal() else -1
    if number is not None and not 0 <= number <= LARGEST:
        raise typer.BadParameter(f"{to} is neither a block number nor latest", param_hint="--to")
    done = asyncio.run(_rewind(config, name, number))
    typer.echo(
        f"chain {name}: goes on after block {done.cursor.number}; "
        f"{done.cancelled} unsent tasks cancelled, {done.orphaned} sent ones marked as orphaned"
    )


async def _rewind(path: Path, name: str, to: int | None) -> "Rewound":
    from listener import app, logs  # noqa: PLC0415
    from listener.config import load  # noqa: PLC0415

    settings = load(path, os.environ, require_key=False)
    logs.configure(settings.logs.level, settings.logs.format, settings.secrets)
    if name not in settings.chains:
        raise ConfigError(f"chain {name}: config.toml has none of this name; it has {', '.join(settings.chains)}")
    logs.capture()
    return await app.rewind(settings, name, to)
