"""Who may have a proof's content, and who keeps it."""

from typing import Protocol

from listener.errors import ProofUnavailable
from listener.proofs.cid import Cid


class Passing(ProofUnavailable):
    """It may be over in a moment: the same is asked again."""


class Source(Protocol):
    """Somebody who may have content. What it gives is verified by the store: nobody is trusted."""

    async def find(self, cid: Cid, limit_bytes: int) -> bytes:
        """
        Fetch the content, at most ``limit_bytes`` of it.

        Raises:
            ProofNotFound: it says that it has none, or gives more than that.
            ProofUnavailable: it cannot say.
        """
        ...


class Backend(Source, Protocol):
    """Where our own proofs are kept."""

    near: bool  # whether it answers at once, so that nobody else needs to be asked meanwhile

    async def keep(self, cid: Cid, content: bytes) -> None:
        """
        Keep content; when this returns, it is there to stay.

        Raises:
            ProofUnavailable: it could not be kept now.
            ProofError: it was refused.
        """
        ...
