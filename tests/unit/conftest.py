"""Tests are files, not packages: what several folders share is found because this folder is on the path."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from listener.config import Url

sys.path.insert(0, str(Path(__file__).parent))

from world import World


@pytest.fixture
def place(tmp_path: Path) -> Path | Url:
    """Where the world's journal is; the journal's own tests have it on both databases."""
    return tmp_path / "listener.db"


@pytest.fixture
async def world(place: Path | Url) -> AsyncIterator[World]:
    async with World(place) as opened:
        yield opened
