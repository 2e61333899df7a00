"""
Child processes that end with us, also when we are killed with ``SIGKILL``.

On Linux the kernel sees to that; elsewhere only a clean end takes the children along.
"""

import asyncio
import contextlib
import ctypes
import functools
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from typing import IO

PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded before any fork: a loader may not run after one


async def start(
    *command: str,
    stdout: int | IO[bytes] = DEVNULL,
    stderr: int | IO[bytes] = DEVNULL,
    environment: Mapping[str, str] | None = None,
) -> Process:
    """
    Start a command in a session of its own, so that Ctrl-C in our terminal reaches us alone.

    The kernel ties the child to the thread that calls this, which is the event loop's. ``environment`` None is our own.
    """
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=environment,
        start_new_session=True,
        preexec_fn=None if _LIBC is None else functools.partial(_tie, os.getpid()),
    )


async def stop(process: Process, *, grace_s: float = 10) -> None:
    """Ask a child to end, and kill it when it has not after ``grace_s``."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):  # it may end between the two lines
        process.terminate()
    try:
        async with asyncio.timeout(grace_s):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _tie(parent: int) -> None:
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the kernel was told
        os._exit(1)
