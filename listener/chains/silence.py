"""
How long a line may be silent before somebody looks whether the chain stands still or the line is deaf.

Three times the chain's own block time, as the chain's timestamps tell it, and never longer than ``longest_s``.
"""

SHORTEST_S = 2.0
BLOCKS = 3.0
SMOOTHING = 0.1


class BlockTime:
    """The seconds between two blocks of a chain, as seen lately."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._seconds: float | None = None

    def passed(self, blocks: int, seconds: int) -> None:
        """Learn from blocks that came after one another."""
        each = max(seconds, 0) / blocks
        self._seconds = each if self._seconds is None else self._seconds + SMOOTHING * (each - self._seconds)

    @property
    def patience_s(self) -> float:
        """How long no block is nothing to wonder about."""
        if self._seconds is None:
            return self._longest_s
        return min(self._longest_s, max(SHORTEST_S, BLOCKS * self._seconds))


class Silence:
    """One line's silence. All times are those of a monotonic clock."""

    def __init__(self, block_time: BlockTime, longest_s: float) -> None:
        self._block_time = block_time
        self._longest_s = longest_s
        self._since = 0.0
        self._doubts = 0  # looks in a row that found the chain standing still, or a line that was no better
        self.told: int | None = None  # the newest block that the line told of

    def opened(self, now: float) -> None:
        """Begin anew with a line that was just opened: what came while there was none, it need not have told of."""
        self._since = now
        self.told = None

    def heard(self, number: int, now: float) -> None:
        """Take note of a head."""
        self._since = now
        self._doubts = 0
        self.told = number if self.told is None else max(self.told, number)

    def looked(self, now: float) -> None:
        """Be more patient: the chain stands still, or a new line was made."""
        self._since = now
        self._doubts += 1

    @property
    def over_at(self) -> float:
        """When the silence is to be looked into."""
        return self._since + min(self._longest_s, self._block_time.patience_s * 2.0 ** min(self._doubts, 10))
