"""Makes event loops: uvloop where it is installed, for it takes a third off every socket call."""

import asyncio

try:
    import uvloop
except ImportError:  # not made for every platform
    uvloop = None  # type: ignore[assignment]


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new loop; the caller runs and closes it."""
    return asyncio.new_event_loop() if uvloop is None else uvloop.new_event_loop()
