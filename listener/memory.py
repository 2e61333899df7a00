"""
What the process asks of its memory, once, at start.

All of it costs nothing. The first two are measured by ``make bench``: a heap for each thread is 2 MB that nobody needs
under the interpreter's one lock, and without the freeze every full garbage collection walks again through all that was
imported.
"""

import ctypes
import gc
import sys

RECURSION = 1000  # calls, as Python itself has it

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


def bound_recursion() -> None:
    """
    Put the interpreter's own limit back where a library has raised it. Call it when all is imported.

    py_ecc, which eth-account imports, sets 100,000: a handler that calls itself without end would hold the interpreter
    for two seconds at each attempt, and all stages with it, or overrun the stack where C code is in between.
    """
    sys.setrecursionlimit(RECURSION)
