"""``listener demo``: everything on this machine, and a count from outside of what came through."""

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from listener.errors import ConfigError

if TYPE_CHECKING:
    from listener.devnet.demo import Options

_EXAMPLE = "Example: listener demo --blocks 30 --dir /tmp/demo"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo", epilog=_EXAMPLE)(demo)


def demo(
    *,
    blocks: Annotated[int | None, typer.Option(min=1, help="Count so many blocks, then stop.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Where config and journal are kept; default: a new folder.")
    ] = None,
    block_time: Annotated[float, typer.Option(min=0.01, help="Seconds between blocks.")] = 1.0,
) -> None:
    """
    Run the daemon against a local chain with traffic, and count what was missed or doubled.

    Starts a chain, a contract and an aggregator, and the daemon as a child whose process id is printed: kill it, and it
    is started again. Ctrl-C, or --blocks, ends with the count. Exit 0 only if missed, doubled and failed are 0.
    """
    from listener.devnet.demo import Options  # noqa: PLC0415 - a daemon does not load the local network

    options = Options(folder=_made(folder), blocks=blocks, block_time_s=block_time)
    raise typer.Exit(0 if asyncio.run(_run(options, as_json=as_json)) else 1)


def _made(folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="listener-demo-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--dir {folder}: {error.strerror}; name a folder that this user may write to") from None
    return folder.resolve()


async def _run(options: "Options", *, as_json: bool) -> bool:
    from listener.devnet.demo import run  # noqa: PLC0415
    from listener.devnet.interrupt import interrupt  # noqa: PLC0415
    from listener.devnet.report import Report  # noqa: PLC0415

    with interrupt() as asked:
        return (await run(options, Report(as_json=as_json), asked)).is_clean
