"""
The real daemon as a child process: started again whenever it dies, its log kept in a file, its journal read by command.

It shares nothing with the process that watches it but its command line.
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import orjson

from listener.devnet import child
from listener.errors import ConfigError, ListenerError

EXIT_CONFIG = 2
PAUSE_S = 1.0  # before starting again one that lived for less
GRACE_S = 30.0  # to finish what is in hand
READ_TIMEOUT_S = 30.0


class Daemon:
    """One ``listener run`` that is kept alive; ``restarts`` counts how often it was started again."""

    def __init__(self, config: Path, started: Callable[[int, int], None]) -> None:
        """
        Args:
            config: the daemon's ``config.toml``; its log goes beside it.
            started: told the process id and the number of restarts so far, each time.
        """
        self.log = config.with_name("listener.log")
        self.restarts = 0
        self.fault: ListenerError | None = None  # why starting it again would not help
        self._config = config
        self._started = started
        self._process: Process | None = None
        self._stopping = False

    async def keep(self) -> None:
        """Run the daemon until ``stop`` or until it refuses its configuration."""
        loop = asyncio.get_running_loop()
        while not self._stopping:
            born = loop.time()
            await self._run_once()
            if self._stopping or self.fault is not None:
                return
            self.restarts += 1
            if loop.time() - born < PAUSE_S:
                await asyncio.sleep(PAUSE_S)

    async def stop(self) -> None:
        """Let it finish what is in its hands, and do not start it again."""
        self._stopping = True
        if self._process is not None:
            await child.stop(self._process, grace_s=GRACE_S)

    async def tasks(self, *filters: str) -> list[dict[str, Any]]:
        """
        Return the rows of ``listener tasks list``.

        Raises:
            UnreadError: the command failed; it may be tried again.
        """
        command = self._command("tasks", "list", "--json", *filters)
        process = await child.start(*command, stdout=PIPE, stderr=PIPE, environment=_environment())
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                output, errors = await process.communicate()
        except TimeoutError as error:
            raise UnreadError(f"`{' '.join(command)}` took longer than {READ_TIMEOUT_S:.0f} s") from error
        finally:
            await child.stop(process)
        if process.returncode != 0:
            said = errors.decode(errors="replace").strip().splitlines() or ["nothing"]
            raise UnreadError(f"`{' '.join(command)}` exited {process.returncode}: {said[-1]}")
        return [orjson.loads(line) for line in output.splitlines()]

    async def _run_once(self) -> None:
        log = self._open_log()
        with log:
            self._process = await child.start(*self._command("run"), stderr=log, environment=_environment())
        self._started(self._process.pid, self.restarts)
        if self._stopping:  # asked while it was starting
            await child.stop(self._process, grace_s=GRACE_S)
        if await self._process.wait() == EXIT_CONFIG:
            self.fault = ConfigError(f"the daemon refused {self._config}: {self._last_words()}")

    def _open_log(self) -> IO[bytes]:
        return self.log.open("ab")

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"see {self.log}"

    def _command(self, *words: str) -> list[str]:
        # -P: a folder `tasks` where the user stands must not hide the tasks of the demo.
        return [sys.executable, "-P", "-m", "listener", *words, "--config", str(self._config)]


class UnreadError(ListenerError):
    """The daemon's journal could not be read."""


def _environment() -> dict[str, str]:
    """Return our environment without the variables that would override what the daemon's config.toml says."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LISTENER__")}
