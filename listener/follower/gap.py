"""Finds where the gap of a restored journal ends: at the newest block that any endpoint has when it is first asked."""

import structlog

from listener.chains import Chain
from listener.errors import ChainUnavailable
from listener.journal import Journal

log = structlog.get_logger()

PATIENCE_S = 3.0  # for endpoints that are not connected yet


async def end_gap(chain: Chain, journal: Journal) -> None:
    """
    Make known to the journal up to which block no new trigger of a chain is executed; once written, it stays.

    Raises:
        ChainUnavailable: the chain could not be asked.
    """
    past = await journal.past(chain.name)
    if past.gap is not None:
        return
    head = await chain.header("latest")
    if head is None:
        raise ChainUnavailable(f"chain {chain.name}: it has no blocks yet")
    # The endpoint that answered may lag: what others have seen may have been answered before the restart.
    best = await chain.best_head(PATIENCE_S) if chain.has_several else None
    end = head.number if best is None else max(head.number, best.number)
    await journal.end_gap(chain.name, end)
    log.warning("chain.gap_expires", chain=chain.name, up_to_block=end)
