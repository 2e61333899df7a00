"""Fixtures that several folders use: a local chain, a local aggregator and a database, fresh for each test."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from listener.config import Url
from listener.devnet.aggregator import Aggregator
from listener.devnet.anvil import Anvil

sys.path.insert(0, str(Path(__file__).parent))

from postgres import Server


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
