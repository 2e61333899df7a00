"""
What the process asks of its memory, once, at start.

All cost nothing and are measured by ``make bench``: Rich is 4 MB that a daemon has no use for, a heap for each thread 2
MB that nobody needs under the interpreter's one lock, holes in that heap are 4 MB more, and without the freeze every
full garbage collection walks again through all that was imported.
"""

import ctypes
import gc
import importlib
import sys

RECURSION = 1000  # calls, as Python itself has it

_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3  # mallopt(3)
LARGE = 128 * 1024  # bytes


def spare_rich() -> None:
    """Let structlog load without Rich, in which it would only paint tracebacks. Call it before other imports."""
    if "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # for an import that is the name of nothing
    try:
        importlib.import_module("structlog")
    finally:
        del sys.modules["rich"]


def share_one_heap() -> None:
    """
    Let all threads allocate from one heap, where the C library is glibc. Call it before the first thread starts.

    What is large stays out of it, always: else the first block with a thousand logs, whose answer is a megabyte, would
    leave a heap with holes of that size.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, LARGE)


def freeze() -> None:
    """Take all that exists by now out of the garbage collector's way, which may be off, and let it work from now on."""
    gc.enable()
    gc.collect()
    gc.freeze()


def bound_recursion() -> None:
    """
    Put the interpreter's own limit back where a library has raised it. Call it when all is imported, and after web3.

    py_ecc, which web3 and eth-account import, sets 100,000: a handler that calls itself without end would hold the
    interpreter for two seconds at each attempt, and all stages with it, or overrun the stack where C code lies between.
    """
    sys.setrecursionlimit(RECURSION)
