"""``listener journal``: copies of the journal, and the way back to one."""

import os
from pathlib import Path
from typing import Annotated

import typer

from listener.cli.run import CONFIG, ConfigPath
from listener.errors import NotPossible

commands = typer.Typer(no_args_is_help=True, help="Back up and restore the journal.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="journal")


@commands.command()
def backup(
    file: Annotated[Path, typer.Argument(help="Where the copy goes.")],
    config: ConfigPath = CONFIG,
    *,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE if it is there.")] = False,
) -> None:
    """
    Copy the journal to a file, as it stands at one moment. The daemon may run meanwhile.

    Example: listener journal backup /var/backups/listener.db
    """
    from listener.journal.backup import back_up  # noqa: PLC0415 - see cli/__init__.py
    from listener.journal.database import require  # noqa: PLC0415

    path = _sqlite(config, "pg_dump")
    require(path)
    size = back_up(path, file.absolute(), overwrite=overwrite)
    typer.echo(f"journal {path}: {size} bytes in {file}")


@commands.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A copy that `journal backup` made.")], config: ConfigPath = CONFIG
) -> None:
    """
    Put a copy in the journal's place. The daemon must be stopped.

    The journal that stands there is kept under another name. The restored one is held: the next `listener run` must say
    --resume-at latest or --resume-at cursor.

    Example: listener journal restore /var/backups/listener.db
    """
    from listener.journal.backup import restore as put_back  # noqa: PLC0415

    path = _sqlite(config, "pg_restore")
    done = put_back(file.absolute(), path)
    cursors = ", ".join(f"{chain} at block {number}" for chain, number in done.cursors.items()) or "no chain begun"
    typer.echo(f"journal {path}: restored {done.held}; {cursors}")
    if done.moved_to is not None:
        typer.echo(f"the journal that stood there is {done.moved_to}")
    typer.echo("it is held: start it with `listener run --resume-at latest`, or `--resume-at cursor`")


def _sqlite(config: Path, instead: str) -> Path:
    from listener.config import load  # noqa: PLC0415

    journal = load(config, os.environ, require_key=False).journal
    if not journal.url.scheme.startswith("sqlite"):
        raise NotPossible(f"journal {journal.url.redacted}: a PostgreSQL database is copied with its own {instead}")
    return journal.path
