"""
The command line: arguments in, exit code out.

One file per group of commands. A command imports what it needs when it runs, so that ``listener --help`` is quick and a
daemon holds only its own parts in memory.
"""

import sys

import typer

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
        app()
    except (ListenerError, BaseExceptionGroup) as raised:
        error = expected_fault(raised)
        if error is None:
            raise
        typer.echo(f"listener: {error}", err=True)
        sys.exit(EXIT_CONFIG if isinstance(error, ConfigError) else EXIT_FAULT)
    except KeyboardInterrupt:
        sys.exit(EXIT_FAULT)
