"""Proofs that are stored nowhere: each is its own text."""

from typing import Any

from listener.errors import ProofError, ProofRejected
from listener.proofs import canonical


class Inline:
    """What ``ctx.proofs`` is where ``backend = "inline"``: a proof goes by its canonical JSON."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    async def put(self, proof: Any) -> str:
        """Return the canonical JSON."""
        content = canonical.encode(proof)
        if len(content) > self._max_bytes:
            raise ProofError(f"the proof has {len(content)} bytes, more than proofs.max_bytes = {self._max_bytes}")
        return content.decode()

    async def get(self, text: str) -> Any:
        """Read the text; one that is not canonical is another proof with the same meaning, and so is refused."""
        try:
            content = text.encode()
        except UnicodeEncodeError:
            raise ProofRejected("the proof is not text that UTF-8 can write") from None
        if len(content) > self._max_bytes:
            raise ProofRejected(f"the proof has {len(content)} bytes, more than proofs.max_bytes = {self._max_bytes}")
        value = canonical.decode(content)
        if not canonical.is_canonical(content, value):
            raise ProofRejected("the proof is not canonical JSON: keys sorted, no spaces, no escapes without need")
        return value
