"""The command line as an operator uses it: real processes, their output and their exit codes."""

import asyncio
import contextlib
import io
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import structlog

from listener import cli
from listener.devnet import child

LIMIT_S = 30.0


@dataclass(frozen=True)
class Answer:
    """What a command said before it ended."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("LISTENER__")}


async def listener(*words: str, config: Path | None = None) -> Answer:
    """Run a command to its end."""
    place = () if config is None else ("--config", str(config))
    process = await child.start(
        sys.executable, "-P", "-m", "listener", *words, *place, stdout=PIPE, stderr=PIPE, environment=environment()
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return Answer(process.returncode, out.decode(), err.decode())


async def quickly(*words: str, config: Path | None = None) -> Answer:
    """Run a command in this process, which takes no start; how it sets logs up ends with it."""
    place = () if config is None else ("--config", str(config))
    return await asyncio.to_thread(_called, ["listener", *words, *place])


def _called(words: list[str]) -> Answer:
    out, err = io.TextIOWrapper(io.BytesIO()), io.TextIOWrapper(io.BytesIO())
    code = 0
    logs_before = structlog.get_config()
    with patch.object(sys, "argv", words), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            structlog.configure(**logs_before)
        out.flush()
        err.flush()
    return Answer(code, *(each.buffer.getvalue().decode() for each in (out, err)))  # type: ignore[attr-defined]


Called = Callable[..., Awaitable[Answer]]


class Run:
    """A ``listener run``, and the lines it has logged so far."""

    def __init__(self, process: Process, log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def text(self) -> str:
        return self._log.read_text()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Each whole line of its log; what is not JSON fails the test."""
        return [json.loads(line) for line in self.text.splitlines(keepends=True) if line.endswith("\n")]

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines]

    async def until(self, condition: Callable[[], Any]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIMIT_S):
                while not condition():
                    assert self.process.returncode is None, f"it ended with {self.process.returncode}: {self.text}"
                    await asyncio.sleep(0.02)
                return
        raise AssertionError(f"not within {LIMIT_S:.0f} s: {self.text}")

    async def logged(self, event: str) -> None:
        await self.until(lambda: event in self.events())

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), LIMIT_S)


@asynccontextmanager
async def running(config: Path, *words: str, name: str = "listener") -> AsyncIterator[Run]:
    """Start the daemon, its log named ``name``; what is left of it at the end is killed."""
    log = config.with_name(f"{name}.log")
    with log.open("ab") as stderr:
        process = await child.start(
            *(sys.executable, "-P", "-m", "listener", "run", "--config", str(config), *words),
            stdout=stderr,
            stderr=stderr,
            environment=environment(),
        )
    try:
        yield Run(process, log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
