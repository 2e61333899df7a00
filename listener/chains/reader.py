"""Contract calls for handlers: an AsyncWeb3 for any block of one chain."""

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from listener import memory
from listener.chains.chain import Chain

if TYPE_CHECKING:
    from web3 import AsyncWeb3

    from listener.chains.pinned import PinnedProvider


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
        contract_calls, provider = _imported()
        return contract_calls(provider(self._chain, self._loop, block))


@functools.cache
def _imported() -> "tuple[type[AsyncWeb3[Any]], type[PinnedProvider]]":
    """Import on first use: web3 takes a second and 40 MB, and most tasks never ask for it."""
    from web3 import AsyncWeb3  # noqa: PLC0415

    from listener.chains.pinned import PinnedProvider  # noqa: PLC0415

    memory.bound_recursion()
    return AsyncWeb3, PinnedProvider
