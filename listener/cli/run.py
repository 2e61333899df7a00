"""``listener run``: the daemon."""

import asyncio
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from listener.cli.role import checked

ConfigPath = Annotated[Path, typer.Option("--config", help="The configuration file.", show_default=True)]
CONFIG = Path("config.toml")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(run)


def run(
    config: ConfigPath = CONFIG,
    role: Annotated[
        str,
        typer.Option(
            help="What to be: a performer; an attester, which judges the tasks of others over HTTP "
            "and needs no key, no aggregator and no journal; or both.",
        ),
    ] = "performer",
    resume_at: Annotated[
        str | None,
        typer.Option(
            help="Once, after a restore: latest executes and sends nothing of the time since the backup; "
            "cursor all of it, perhaps a second time.",
        ),
    ] = None,
) -> None:
    """
    Follow the chains and perform tasks, or judge those of others, until SIGTERM or Ctrl-C.

    The first signal finishes what is in hand and exits 0; a second one cancels at once and exits 1.

    Example: listener run --config /etc/listener/config.toml --role both
    """
    from listener import memory  # noqa: PLC0415 - see cli/__init__.py

    memory.spare_rich()
    from listener import app as daemon  # noqa: PLC0415
    from listener import descriptors, handlers, hashes, logs  # noqa: PLC0415
    from listener.config import load, matchers, trace_secrets  # noqa: PLC0415

    checked(role)
    if resume_at not in (None, "latest", "cursor"):
        raise typer.BadParameter(f"{resume_at} is neither latest nor cursor", param_hint="--resume-at")
    if resume_at is not None and role == "attester":
        raise typer.BadParameter("an attester has no journal to go on with", param_hint="--resume-at")
    memory.share_one_heap()
    descriptors.raise_limit()
    hashes.choose()
    settings = load(config, os.environ, performs=role != "attester")
    secrets = [*settings.secrets, *trace_secrets(os.environ)]
    logs.configure(settings.logs.level, settings.logs.format, secrets)
    ready = matchers(settings)
    found = handlers.load(settings.rules, config.absolute().parent)
    sys.exit(_run(daemon.run(settings, ready, found, role=role, resume_at=resume_at)))


def _run(main: Coroutine[Any, Any, int]) -> int:
    from listener import logs  # noqa: PLC0415
    from listener.loops import new_event_loop  # noqa: PLC0415

    logs.capture()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)
