from collections.abc import AsyncIterator

import pytest

from listener.testing import FakeIpfs


@pytest.fixture
async def ipfs() -> AsyncIterator[FakeIpfs]:
    async with FakeIpfs().open() as fake:
        yield fake


@pytest.fixture
async def other() -> AsyncIterator[FakeIpfs]:
    async with FakeIpfs().open() as fake:
        yield fake
