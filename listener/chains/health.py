"""
Leaves an endpoint alone for a while after it failed: the longer, the more it failed lately.

Failures fade with time, not with success: an endpoint that works every other minute is not a good one.
"""

import random

FIRST_REST_S = 1.0
LONGEST_REST_S = 60.0
HALF_LIFE_S = 30.0  # after so long a failure counts half


class Health:
    """The failures of one endpoint. All times are those of a monotonic clock."""

    def __init__(self) -> None:
        self.rest_until = 0.0
        self._weight = 0.0
        self._failed_at = 0.0

    def failed(self, now: float) -> bool:
        """Begin a rest; False when it rests already, for calls that fail together are one failure."""
        if now < self.rest_until:
            return False
        self._weight = self._weight * 0.5 ** ((now - self._failed_at) / HALF_LIFE_S) + 1
        self._failed_at = now
        rest_s = min(LONGEST_REST_S, FIRST_REST_S * 2 ** (min(self._weight, 16) - 1))
        self.rest_until = now + rest_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret
        return True
