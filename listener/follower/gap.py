"""Finds where the gap of a restored journal ends: at the newest block of the chain, as it is when it is first asked."""

import structlog

from listener.chains import Chain
from listener.errors import ChainUnavailable
from listener.journal import Journal

log = structlog.get_logger()


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
    await journal.end_gap(chain.name, head.number)
    log.warning("chain.gap_expires", chain=chain.name, up_to_block=head.number)
