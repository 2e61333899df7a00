"""Fixtures that several folders use: a local chain, a local aggregator and a database, fresh for each test."""

import gc
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from listener.config import Url
from listener.devnet.aggregator import Aggregator
from listener.devnet.anvil import Anvil

sys.path.insert(0, str(Path(__file__).parent))

from postgres import Server

# What a daemon in this process logs is never taken for the output of a command that runs beside it.
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))

# No test fails because the machine does other work: an example may take as long as it takes.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def pytest_xdist_auto_num_workers() -> int | None:
    """Run twice as many as there are cores, unless told otherwise: half of its time a test waits for others."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else 2 * (os.cpu_count() or 1)


def pytest_collection() -> None:
    """Collect no garbage while all is imported: there is none, and looking for it takes a fifth of the time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """What was imported stays: it is not looked through again and again."""
    gc.enable()
    gc.freeze()


@pytest.fixture
async def anvil() -> AsyncIterator[Anvil]:
    async with Anvil() as chain:
        yield chain


@pytest.fixture
async def aggregator() -> AsyncIterator[Aggregator]:
    async with Aggregator() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """One server for the whole run, started by the first test that needs it."""
    with Server() as server:
        yield server


@pytest.fixture
def database(postgresql: Server) -> Iterator[Url]:
    """A database with an empty journal."""
    with postgresql.database() as url:
        yield url
