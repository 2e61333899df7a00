"""How much one client, and all of them together, may ask for. Times are those of a monotonic clock."""

import ipaddress

REMEMBERED = 10_000  # clients; whoever asked longest ago is forgotten first


class Rates:
    """
    A token bucket for each client: so many requests a second, and as many at once.

    Of each is kept only until when its bucket is spoken for, as if it were filled drop by drop.
    """

    def __init__(self, requests_per_s: int) -> None:
        self._step_s = 1 / requests_per_s
        self._spoken_for: dict[str, float] = {}

    def wait_s(self, client: str, now: float) -> float:
        """Count a request; return 0, or how long the client has to wait, and then it was not counted."""
        client = _network(client)
        until = max(self._spoken_for.pop(client, 0.0), now)
        excess = until + self._step_s - now - 1.0
        allowed = excess <= 1e-9  # a rounding is no request
        self._spoken_for[client] = until + self._step_s if allowed else until
        if len(self._spoken_for) > REMEMBERED:
            self._spoken_for.pop(next(iter(self._spoken_for)))
        return 0.0 if allowed else excess


def _network(client: str) -> str:
    """Give what one client has to itself: of IPv6 that is a network, with more addresses than could be remembered."""
    if ":" not in client:
        return client
    address = ipaddress.IPv6Address(client)
    return str(address.ipv4_mapped or int(address) >> 64)


class Slots:
    """How many requests may be in hand at a time."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0

    def take(self) -> bool:
        """Take one; False where none is left."""
        if self._taken >= self._size:
            return False
        self._taken += 1
        return True

    def give_back(self) -> None:
        """Let another have it."""
        self._taken -= 1
