"""
One call of a user's function: within its time, in a thread of its own where it is an ordinary one.

Runs on the handlers' loop.
"""

import asyncio
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from listener.errors import HandlerTimeout
from listener.loops import begin_thread

STOPPING = "the daemon stops"  # with what a call is cancelled when we end
_left_behind: set[threading.Thread] = set()  # touched on the handlers' loop alone


async def call(function: Callable[..., Any], *args: Any, is_async: bool, timeout_s: float, rule: str) -> Any:
    """
    Call a function of the user's within its time.

    Raises:
        HandlerTimeout: its time is over; what comes after that counts no more, though it kept the loop from saying so.
    """
    timer = asyncio.timeout(timeout_s)
    ends_at = asyncio.get_running_loop().time() + timeout_s
    try:
        async with timer:
            result = await run(function, *args, is_async=is_async, rule=rule)
    except TimeoutError:
        if not timer.expired():
            raise  # the function's own
    else:
        if asyncio.get_running_loop().time() <= ends_at:
            return result
    raise HandlerTimeout(f"no result within timeout_s = {timeout_s:g}")


async def run(function: Callable[..., Any], *args: Any, is_async: bool, rule: str) -> Any:
    """Call a function of the user's and return what it returns; ``rule`` names the thread of an ordinary one."""
    return await function(*args) if is_async else await _in_thread(function, rule, *args)


def left_behind() -> int:
    """Count the threads whose time is over and that go on: Python cannot stop them."""
    _left_behind.difference_update([thread for thread in _left_behind if not thread.is_alive()])
    return len(_left_behind)


async def _in_thread(function: Callable[..., Any], rule: str, *args: Any) -> Any:
    """Call an ordinary function in a thread of its own; one that is left behind is counted."""
    thread, ended = begin_thread(function, *args, name=f"handler {rule}")
    try:
        result, error = await ended
    except asyncio.CancelledError:
        _left_behind.add(thread)
        raise
    if error is not None:
        raise error
    return result


def described(error: BaseException) -> str:
    """Say in one line what a function raised and where, for the traceback is only in the debug log."""
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - even its text is the user's code
        said = "(its text cannot be read)"
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text[:1000]} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else text[:1000]
