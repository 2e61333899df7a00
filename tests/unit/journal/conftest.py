"""The journal's suite runs on both databases, but for what is said to be about one of them."""

from pathlib import Path
from typing import Any

import pytest

from listener.config import Url


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | Url:
    if request.param == "sqlite":
        return tmp_path / "listener.db"
    url: Any = request.getfixturevalue("database")
    return url  # type: ignore[no-any-return]
