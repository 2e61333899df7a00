"""Fixtures that several folders use: a fresh local chain and a fresh local aggregator for each test."""

from collections.abc import AsyncIterator

import pytest

from listener.devnet.aggregator import Aggregator
from listener.devnet.anvil import Anvil


@pytest.fixture
async def anvil() -> AsyncIterator[Anvil]:
    async with Anvil() as chain:
        yield chain


@pytest.fixture
async def aggregator() -> AsyncIterator[Aggregator]:
    async with Aggregator() as server:
        yield server
