"""What the daemon must not hold in memory."""

import gc
import subprocess
import sys

from listener import memory

LOADED = """
import sys
from listener import memory
memory.spare_rich()
import listener.app
import structlog
heavy = ("rich", "pygments", "sqlalchemy.dialects.postgresql", "psycopg", "alembic", "web3", "eth_account", "py_ecc")
print(*(name for name in heavy if name in sys.modules))
structlog.dev.ConsoleRenderer()
import rich.console

from listener.chains.reader import Reader
Reader(None, None).at(0)
assert "py_ecc" in sys.modules
print(sys.getrecursionlimit())
"""


def test_the_daemon_loads_nothing_heavy_that_a_journal_in_a_file_does_not_need() -> None:
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == ["", "1000"]


def test_garbage_is_collected_again_once_the_daemon_has_started() -> None:
    gc.disable()  # as the command line leaves it
    try:
        memory.freeze()
        assert gc.isenabled()
    finally:
        gc.enable()
