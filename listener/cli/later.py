"""Commands that later versions will have; they say so, instead of not being there."""

from collections.abc import Callable
from typing import Annotated

import typer

from listener.errors import NotAvailable

EXAMPLES = {
    "replay": "listener replay --rule intents --from 1200000 --to 1200500",
    "keys": "listener keys new",
    "new": "listener new my-avs",
    "schema": "listener schema > config.schema.json",
}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for name, example in EXAMPLES.items():
        text = f"Not available yet.\n\nExample: {example}"
        app.command(name, help=text, context_settings={"ignore_unknown_options": True})(_refuse(name))


def _refuse(name: str) -> Callable[[list[str] | None], None]:
    def refuse(arguments: Annotated[list[str] | None, typer.Argument(hidden=True)] = None) -> None:  # noqa: ARG001
        raise NotAvailable(f"{name}: not available yet")

    return refuse
