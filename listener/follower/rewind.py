"""Puts a chain's cursor where an operator wants it, while the daemon is stopped."""

from dataclasses import dataclass

from listener.chains import Chain
from listener.errors import ConfigError
from listener.journal import ChainRow, Journal
from listener.model import Cursor


@dataclass(frozen=True, slots=True)
class Rewound:
    """Where the cursor stands now, and what became of the tasks above it."""

    cursor: Cursor
    cancelled: int
    orphaned: int


async def rewind(chain: Chain, journal: Journal, to: int | None) -> Rewound:
    """
    Move the cursor to block ``to``, or to the newest block when it is None.

    What was not sent for a block above it, or for a block that the chain no longer holds, is cancelled; it comes back
    when its block does. What may have been sent is only marked: nothing is ever signed twice.

    Raises:
        ConfigError: the chain has no such block, or was never followed.
        ChainUnavailable: the chain could not be read.
    """
    row = await journal.chain(chain.name)
    if row is None:
        raise ConfigError(f"chain {chain.name}: it was never followed; there is nothing to rewind")
    genesis, target = await chain.header(0), await chain.header("latest" if to is None else to)
    if genesis is None or target is None:
        raise ConfigError(f"chain {chain.name}: it has no block {to}; name one that is not newer than its head")
    open_blocks = await journal.open_blocks(chain.name)
    below = sorted({number for number in open_blocks.values() if number <= target.number})
    held = {block.hash for block in await chain.headers(below)} if below else set()
    gone = [block for block, number in open_blocks.items() if number <= target.number and block not in held]
    moved = ChainRow(
        name=chain.name,
        chain_id=chain.chain_id,
        genesis=genesis.hash,
        cursor=target.cursor,
        final=min(row.final, target.number),
    )
    cancelled, orphaned = await journal.move_chain(moved, gone)
    return Rewound(target.cursor, cancelled, orphaned)
