"""Proofs in memory: what was put or found of late, and a whole store of it for tests."""

from listener.errors import ProofNotFound
from listener.proofs.cid import Cid

REMEMBERED = 4  # proofs of the largest size


class Remembered:
    """
    Content that was verified, the newest of it.

    A self-check reads what was just put, and several attester nodes ask about one claim.
    """

    def __init__(self, max_bytes: int) -> None:
        self._most = REMEMBERED * max_bytes
        self._bytes = 0
        self._found: dict[Cid, bytes] = {}  # oldest first

    def add(self, cid: Cid, content: bytes) -> None:
        """Remember content, and forget the oldest where it gets too much."""
        if cid in self._found:
            return
        self._found[cid] = content
        self._bytes += len(content)
        while self._bytes > self._most:
            self._bytes -= len(self._found.pop(next(iter(self._found))))

    def get(self, cid: Cid) -> bytes | None:
        """Return content; None where it is not remembered."""
        return self._found.get(cid)


class Memory:
    """A backend that is gone with its process: for tests."""

    near = True

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}  # by the CID's name

    def __str__(self) -> str:
        return "memory"

    async def keep(self, cid: Cid, content: bytes) -> None:
        """Keep content."""
        self.kept[cid.name] = content

    async def find(self, cid: Cid, limit_bytes: int) -> bytes:  # noqa: ARG002 - it was let in
        """Return content that was kept."""
        if cid.name not in self.kept:
            raise ProofNotFound(f"{self} has it not")
        return self.kept[cid.name]
