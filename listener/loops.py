"""
Makes event loops, and threads beside them.

The loops are uvloop's where it is installed, for it takes a third off every socket call.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

try:
    import uvloop
except ImportError:  # not made for every platform
    uvloop = None  # type: ignore[assignment]


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new loop; the caller runs and closes it."""
    return asyncio.new_event_loop() if uvloop is None else uvloop.new_event_loop()


def begin_thread(
    function: Callable[..., Any], *args: Any, name: str
) -> tuple[threading.Thread, "asyncio.Future[tuple[Any, BaseException | None]]"]:
    """
    Begin an ordinary function in a thread of its own; the future tells what it returned or raised.

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

    thread = threading.Thread(target=begin, name=name, daemon=True)
    thread.start()
    return thread, ended
