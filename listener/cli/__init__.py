"""
The command line: arguments in, exit code out.

One file per group of commands. A command imports what it needs when it runs, so that ``listener --help`` is quick and a
daemon holds only its own parts in memory.
"""

import sys

import typer
from typer._click.exceptions import NoArgsIsHelpError, UsageError  # typer has no public names for them

from listener.cli import chains, check, demo, devnet, incidents, journal, later, run, status, tasks
from listener.errors import ConfigError, ListenerError, expected_fault

EXIT_FAULT = 1  # a fault, or a check that failed
EXIT_CONFIG = 2  # bad configuration or bad usage

app = typer.Typer(
    name="listener",
    help="Follow blockchains, run tasks when a rule is due, sign them and submit them: never missed, never doubled.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for group in (run, check, demo, devnet, tasks, chains, incidents, journal, status, later):
    group.register(app)


def main() -> None:
    """Run the command line; one line on stderr for every expected error, never a traceback for a user's mistake."""
    try:
        sys.exit(app(prog_name="listener", standalone_mode=False))
    except NoArgsIsHelpError as missing:
        missing.show()
        sys.exit(EXIT_CONFIG)
    except UsageError as misused:
        typer.echo(_in_one_line(misused), err=True)
        sys.exit(EXIT_CONFIG)
    except (ListenerError, BaseExceptionGroup) as raised:
        error = expected_fault(raised)
        if error is None:
            raise
        typer.echo(f"listener: {error}", err=True)
        sys.exit(EXIT_CONFIG if isinstance(error, ConfigError) else EXIT_FAULT)
    except KeyboardInterrupt:
        sys.exit(EXIT_FAULT)


def _in_one_line(misused: UsageError) -> str:
    command = "listener" if misused.ctx is None else misused.ctx.command_path
    said = " ".join(misused.format_message().split()).rstrip(".")
    return f"listener: {said[:1].lower()}{said[1:]}; see `{command} --help`"
