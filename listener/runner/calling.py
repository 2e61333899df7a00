"""
One call of a user's function: within its time, in a thread of its own where it is an ordinary one.

Runs on the handlers' loop.
"""

import asyncio
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from listener.errors import HandlerTimeout

STOPPING = "the daemon stops"  # with what a call is cancelled when we end
_left_behind: set[threading.Thread] = set()  # touched on the handlers' loop alone


async def call(function: Callable[..., Any], *args: Any, is_async: bool, timeout_s: float, rule: str) -> Any:
    """
    Call a function of the user's within its time.

    Raises:
        HandlerTimeout: its time is over.
    """
    timer = asyncio.timeout(timeout_s)
    try:
        async with timer:
            return await run(function, *args, is_async=is_async, rule=rule)
    except TimeoutError:
        if not timer.expired():
            raise  # the function's own
        raise HandlerTimeout(f"no result within timeout_s = {timeout_s:g}") from None


async def run(function: Callable[..., Any], *args: Any, is_async: bool, rule: str) -> Any:
    """Call a function of the user's and return what it returns; ``rule`` names the thread of an ordinary one."""
    return await function(*args) if is_async else await _in_thread(function, rule, *args)


def left_behind() -> int:
    """Count the threads whose time is over and that go on: Python cannot stop them."""
    _left_behind.difference_update([thread for thread in _left_behind if not thread.is_alive()])
    return len(_left_behind)


async def _in_thread(function: Callable[..., Any], rule: str, *args: Any) -> Any:
    """
    Call an ordinary function in a thread of its own.

    Not in a pool: the interpreter waits for a pool's threads when it ends, and a function may hang for ever.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if not ended.done():
            ended.set_result((result, error))

    def begin() -> None:
        result, error = None, None
        try:
            result = function(*args)
        except BaseException as raised:  # noqa: BLE001 - handed to the one who waits
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits any longer
            loop.call_soon_threadsafe(settle, result, error)

    thread = threading.Thread(target=begin, name=f"handler {rule}", daemon=True)
    thread.start()
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
