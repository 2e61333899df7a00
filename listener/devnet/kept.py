"""Proofs that the daemon keeps as files, read from outside."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson


class Kept:
    """The folder of a daemon's proofs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[str, Mapping[str, Any]] = {}

    def find(self, proof: str) -> Mapping[str, Any] | None:
        """Return the object that is kept under a CID; None where there is none."""
        if proof not in self._found and proof.isalnum():  # else it is no CID
            for path in self._folder.rglob(proof):
                self._found[proof] = orjson.loads(path.read_bytes())
        return self._found.get(proof)
