"""
What the process asks of its memory, once, at start.

Both cost nothing and are measured by ``make bench``: a heap for each thread is 2 MB that nobody needs under the
interpreter's one lock, and without the freeze every full garbage collection walks again through all that was imported.
"""

import ctypes
import gc

_M_ARENA_MAX = -8  # mallopt(3)


def share_one_heap() -> None:
    """Let all threads allocate from one heap, where the C library is glibc. Call it before the first thread starts."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def freeze() -> None:
    """Take all that exists by now out of the garbage collector's way: it lives as long as the process."""
    gc.collect()
    gc.freeze()
