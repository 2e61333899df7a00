"""Commands that later versions will have; they say so, instead of not being there."""

from collections.abc import Callable
from typing import Annotated

import typer

from listener.errors import NotAvailable

NAMES = ("replay", "keys", "new", "schema")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for name in NAMES:
        app.command(name, help="Not available yet.", context_settings={"ignore_unknown_options": True})(_refuse(name))


def _refuse(name: str) -> Callable[[list[str] | None], None]:
    def refuse(arguments: Annotated[list[str] | None, typer.Argument(hidden=True)] = None) -> None:  # noqa: ARG001
        raise NotAvailable(f"{name}: not available yet")

    return refuse
