"""
Lets all endpoints of a chain say whether they hold a block, before it is believed to be gone.

A node that is behind, on a fork of its own, started anew or another chain's looks like a reorg. As many as hold the
block, or more, outvote those that have another by its number. A node that alone hangs on to the old branch is outvoted
too or, where there are only two, found lagging after a while. Who was outvoted rests.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Literal

import structlog

from listener.chains.member import Member
from listener.chains.wire import quantity
from listener.errors import ChainUnavailable
from listener.model import Cursor

log = structlog.get_logger()

VOTE_S = 3.0  # for an endpoint to answer

Voice = Literal["holds", "has another", "is behind"]


async def confirm_gone(chain: str, members: Sequence[Member], cursor: Cursor) -> None:
    """
    Return when the block has left the chain.

    Raises:
        ChainUnavailable: others still hold it.
    """
    if len(members) == 1:
        return
    voices = await _voices(members, cursor)
    holders = voices["holds"]
    if not holders:
        return
    gone = len(voices["has another"]) > len(holders)
    now = time.monotonic()
    for member in holders if gone else voices["has another"]:
        member.contradicted(f"block {cursor.number} has another hash elsewhere", now)
    if gone:
        return
    for member in voices["is behind"]:
        log.info("endpoint.behind", chain=chain, endpoint=member.name, block=cursor.number)
        member.rest(now)
    raise ChainUnavailable(f"chain {chain}: {holders[0].name} still holds block {cursor.number}, so it is no reorg yet")


async def _voices(members: Sequence[Member], cursor: Cursor) -> dict[Voice, list[Member]]:
    voices: dict[Voice, list[Member]] = {"holds": [], "has another": [], "is behind": []}

    async def ask(member: Member) -> None:
        voice = await _voice(member, cursor)
        if voice is not None:
            voices[voice].append(member)

    async with asyncio.TaskGroup() as group:
        for member in members:
            if member.usable and not member.lagging:
                group.create_task(ask(member))
    return voices


async def _voice(member: Member, cursor: Cursor) -> Voice | None:
    """Ask one endpoint, first for its chain; None where it does not answer."""
    try:
        async with asyncio.timeout(VOTE_S):
            await member.prove()
            answer = await member.call("eth_getBlockByNumber", [quantity(cursor.number), False])
    except (ChainUnavailable, TimeoutError):
        return None
    if not isinstance(answer, dict):
        return "is behind"
    return "holds" if answer.get("hash") == "0x" + cursor.hash.hex() else "has another"
