"""Contract calls for handlers: an AsyncWeb3 for any block of one chain."""

import asyncio
from typing import TYPE_CHECKING, Any

from listener.chains.chain import Chain

if TYPE_CHECKING:
    from web3 import AsyncWeb3


class Reader:
    """
    Makes contract readers.

    Args:
        loop: the stages' loop, where the chain's connections live.
    """

    def __init__(self, chain: Chain, loop: asyncio.AbstractEventLoop) -> None:
        self._chain = chain
        self._loop = loop

    def at(self, block: int | bytes | str) -> "AsyncWeb3[Any]":
        """Return contract calls that read at this block's number, hash or tag."""
        # Imported on first use: web3 takes a second and 40 MB, and most tasks never ask for it.
        from web3 import AsyncWeb3  # noqa: PLC0415

        from listener.chains.pinned import PinnedProvider  # noqa: PLC0415

        return AsyncWeb3(PinnedProvider(self._chain, self._loop, block))
