"""The daemon as a process that dies: at a named step, at any moment, or when it is asked to."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import orjson

from listener.devnet import child
from listener.errors import ListenerError

KILLED = -9  # what a process returns that SIGKILL ended
GRACE_S = 30.0
UP_S = 120.0  # for a process to start, on a machine that does much else
_UP = b'"event":"daemon.started"'
READ_TIMEOUT_S = 60.0


class ChaosError(ListenerError):
    """The daemon did something that no fault of others excuses."""


class Daemon:
    """One daemon after the other, all with the same configuration and journal."""

    def __init__(self, config: Path) -> None:
        self.log = config.with_name("listener.log")
        self._config = config
        self._process: Process | None = None
        self._written = 0  # bytes of the log when the present one was started

    @property
    def pid(self) -> int:
        """The process id of the one that runs."""
        return self._running().pid

    async def start(self, point: str | None = None) -> None:
        """Start it; with a point such as ``sign.committed:2`` it kills itself there."""
        self._written = self.log.stat().st_size if self.log.exists() else 0
        program = ("listener",) if point is None else ("listener.testing.crash", point)
        with self.log.open("ab") as log:
            self._process = await child.start(
                *(sys.executable, "-P", "-m", *program, "run", "--config", str(self._config)),
                stdout=log,
                stderr=log,
                environment=environment(),
            )

    async def killed(self, within_s: float) -> bool:
        """
        Wait until it has killed itself, and kill it where it has not in time once it was up; say whether it had.

        Raises:
            ChaosError: it ended in another way.
        """
        process = self._running()
        await self._up()
        try:
            async with asyncio.timeout(within_s):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            return False
        if process.returncode != KILLED:
            raise ChaosError(f"the daemon ended by itself with {process.returncode}: {self.last_words()}")
        return True

    async def _up(self) -> None:
        """Wait until it has started, or ended before."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(UP_S):
                while self._running().returncode is None and not self._is_up():  # noqa: ASYNC110 - it tells nobody else
                    await asyncio.sleep(0.02)

    def _is_up(self) -> bool:
        with self.log.open("rb") as log:
            log.seek(self._written)
            return _UP in log.read()

    async def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        process = self._running()
        await child.stop(process, grace_s=GRACE_S)
        return process.returncode or 0

    async def end(self) -> None:
        """Leave nothing behind."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def check(self) -> None:
        """
        See that it still runs.

        Raises:
            ChaosError: it does not.
        """
        if self._running().returncode is not None:
            raise ChaosError(f"the daemon ended by itself with {self._running().returncode}: {self.last_words()}")

    async def tasks(self) -> list[dict[str, Any]]:
        """
        Return every row of ``listener tasks list``.

        Raises:
            ChaosError: it could not be read.
        """
        command = (sys.executable, "-P", "-m", "listener", "tasks", "list", "--json", "--config", str(self._config))
        process = await child.start(*command, stdout=PIPE, stderr=PIPE, environment=environment())
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                out, err = await process.communicate()
        finally:
            await child.stop(process)
        if process.returncode != 0:
            raise ChaosError(f"`listener tasks list` exited {process.returncode}: {err.decode(errors='replace')}")
        return [orjson.loads(line) for line in out.splitlines()]

    def last_words(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-2000:]

    def _running(self) -> Process:
        if self._process is None:
            raise ChaosError("the daemon was not started")
        return self._process


def environment() -> dict[str, str]:
    """Return our environment without what would override the daemon's configuration."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LISTENER__")}
