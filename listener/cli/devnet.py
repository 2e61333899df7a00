"""``listener devnet``: the local network without the daemon."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from listener.errors import ConfigError

_EXAMPLE = "Example: listener devnet --write devnet.json"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("devnet", epilog=_EXAMPLE)(devnet)


def devnet(
    *,
    write: Annotated[Path | None, typer.Option("--write", help="Write the JSON to this file too.")] = None,
    block_time: Annotated[float, typer.Option(min=0.01, help="Seconds between blocks.")] = 1.0,
) -> None:
    """
    Run a local chain, an IntentSender contract and an aggregator until Ctrl-C.

    Prints their addresses, keys and URLs as JSON. The ports are 8545 and 8555, or free ones where these are taken.
    """
    asyncio.run(_run(write, block_time))


async def _run(write: Path | None, block_time_s: float) -> None:
    import orjson  # noqa: PLC0415

    from listener.devnet.anvil import free_port  # noqa: PLC0415 - a daemon does not load the local network
    from listener.devnet.interrupt import interrupt  # noqa: PLC0415
    from listener.devnet.network import local_network  # noqa: PLC0415

    port, aggregator_port = free_port(8545), free_port(8555)
    with interrupt() as asked:
        async with local_network(port=port, aggregator_port=aggregator_port, block_time_s=block_time_s) as network:
            details = orjson.dumps(network.details(), option=orjson.OPT_INDENT_2).decode()
            if write is not None:
                _write(write, details)
            typer.echo(details)
            await asked.wait()


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(f"{text}\n")
    except OSError as error:
        raise ConfigError(f"--write {path}: {error.strerror}; name a file that this user may write to") from None
