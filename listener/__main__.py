"""``python -m listener``: the same as the console script."""

import gc
import os
import signal
import sys


def main() -> None:
    """
    Run the command line.

    A signal that comes while the daemon's modules load finds nothing in hand, and ends it as well as a later one would.
    """
    if sys.argv[1:2] == ["run"]:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: os._exit(0))  # the daemon's loop puts its own in their place
        gc.disable()  # modules leave no garbage, and looking for it takes a tenth of a start; memory.freeze ends this
    from listener.cli import main as run_command_line  # noqa: PLC0415 - takes seconds on a busy machine

    run_command_line()


if __name__ == "__main__":
    main()
