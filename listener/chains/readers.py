"""Remembers which endpoints gave the logs of which blocks, so that a second look can be had at others."""

from collections import deque

from listener.chains.member import Member

_REMEMBERED = 64  # changes from one endpoint to another


class Readers:
    """Who read the logs of one chain, as far back as a second look goes. Forgotten with the process."""

    def __init__(self) -> None:
        self._changes: deque[tuple[int, frozenset[Member]]] = deque(maxlen=_REMEMBERED)

    def note(self, block_number: int, members: frozenset[Member]) -> None:
        """Take note that these endpoints gave the logs of a block, or of a range that begins there."""
        if not self._changes or self._changes[-1][1] != members:
            self._changes.append((block_number, members))

    def of(self, first: int, last: int) -> frozenset[Member]:
        """Say who read the logs of blocks ``first`` to ``last``, as far as that is known."""
        found: frozenset[Member] = frozenset()
        for number, members in self._changes:
            if number <= first:
                found = members
            elif number <= last:
                found |= members
        return found
