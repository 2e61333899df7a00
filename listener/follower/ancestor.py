"""Finds where a reorganised chain left the one we walked."""

from collections.abc import Mapping

from listener.chains import Chain
from listener.errors import ChainHalted
from listener.model import Cursor

_WIDEST = 32  # headers asked for at once


async def common_ancestor(chain: Chain, walked: Mapping[int, bytes], top: int) -> Cursor:
    """
    Return the highest block at or below ``top`` that both the chain and our walk hold.

    Args:
        chain: where to look.
        walked: our hashes by number, contiguous at the top; the lowest is final or the oldest we remember.
        top: the highest number that both can hold.

    Raises:
        ChainHalted: not even the lowest block we remember is on the chain.
        ChainUnavailable: the chain could not be read.
    """
    width = 1  # nearly every reorg is one block deep
    # A chain that is walked from block 0 has its first cursor below it.
    numbers = sorted((number for number in walked if 0 <= number <= top), reverse=True)
    while numbers:
        part, numbers = numbers[:width], numbers[width:]
        for block in await chain.headers(part):
            if walked[block.number] == block.hash:
                return block.cursor
        width = min(2 * width, _WIDEST)
    lowest = min(walked, default=0)
    raise ChainHalted(
        f"the chain no longer holds block {lowest}, which was final or is the oldest remembered; "
        f"check the endpoints, or stop the daemon and run `listener chains rewind {chain.name} --to N|latest`"
    )
