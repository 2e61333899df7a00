"""How many blocks one endpoint reads logs of at once, learned from what it refuses."""

from listener.chains.dialects import named_width

WIDEST = 10_000
PATIENCE = 16  # reads as wide as an endpoint took before a wider one is tried again


class RangeLimit:
    """
    The width of one endpoint's ranges.

    A limit that the endpoint names is kept. One that was found by halving may have been a bad moment: after a while a
    wider range is tried again.
    """

    def __init__(self) -> None:
        self.width = WIDEST
        self._named = WIDEST
        self._at_limit = 0

    def refused(self, first: int, last: int, reason: str) -> None:
        """Learn from a refusal: take the width that it names, else half of what was asked."""
        found = named_width(reason, first, last)
        self._at_limit = 0
        if found is None:
            self.width = max((last - first + 1) // 2, 1)
            return
        self.width, holds = found
        if holds:
            self._named = self.width

    def read(self, width: int) -> None:
        """Take note of a range that was read."""
        if width < self.width or self.width == self._named:
            return
        self._at_limit += 1
        if self._at_limit >= PATIENCE:
            self.width, self._at_limit = min(self.width * 2, self._named), 0
