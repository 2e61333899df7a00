"""
Ways in which a node answers wrongly, for a fake node's ``before`` and ``after``.

How a connection breaks is in ``node.py``; here are the answers.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Before = Callable[[str, list[Any]], Awaitable[Any]]
After = Callable[[str, list[Any], Any], Any]


class NodeError(Exception):
    """Answered as a JSON-RPC error."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class HttpAnswer(Exception):
    """
    Answered as this HTTP response, whatever was asked: ``HttpAnswer(429, "slow down", {"Retry-After": "2"})``, or
    ``HttpAnswer(200, "<html>Sign in</html>")``.

    A websocket has no statuses; there it is an error with the status as its code.
    """

    def __init__(self, status: int, body: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body
        self.headers = dict(headers or {})


def logs_changed(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> After:
    """
    Answer ``eth_getLogs`` with other logs than the chain holds.

    Hidden: ``lambda logs: []``; truncated: ``logs[:n]``; doubled: ``logs * 2``; unordered: ``logs[::-1]``; taken back:
    ``[{**log, "removed": True} for log in logs]``.
    """

    def after(method: str, _params: list[Any], result: Any) -> Any:
        return change(result) if method == "eth_getLogs" else result

    return after


def ranges_up_to(width: int, message: str = "query exceeds max block range", code: int = -32000) -> Before:
    """Refuse ``eth_getLogs`` over more blocks than this, each provider in its own words."""

    async def before(method: str, params: list[Any]) -> None:
        query = params[0] if method == "eth_getLogs" else {}
        if "fromBlock" in query and int(query["toBlock"], 16) - int(query["fromBlock"], 16) >= width:
            raise NodeError(code, message)

    return before


# How providers refuse a range that is wider than they read; {width} is what they take, {first} and {last} a part that
# they would.
DIALECTS: Mapping[str, tuple[int, str]] = {
    "alchemy": (
        -32600,
        (
            "Under the Free tier plan, you can make eth_getLogs requests with up to a {width} block range. "
            "Based on your parameters, this block range should work: [{first:#x}, {last:#x}]."
        ),
    ),
    "alchemy, by size": (
        -32602,
        (
            "Log response size exceeded. Based on your parameters and the response size limit, this block range should "
            "work: [{first:#x}, {last:#x}]"
        ),
    ),
    "infura": (
        -32005,
        "query returned more than 10000 results. Try with this block range [0x{first:X}, 0x{last:X}].",
    ),
    "infura, by width": (-32602, "range 1000000 exceeds limit of {width}"),
    "quicknode": (-32614, "eth_getLogs is limited to a {width:,} range"),
    "ankr": (-32602, "block range is too wide"),
    "geth": (-32000, "exceed maximum block range: {width}"),
    "erigon": (-32000, "query block range exceeds {width} blocks"),
    "reth": (-32602, "query exceeds max results 20000, retry with the range {first}-{last}"),
    "nethermind": (-32005, "Too many logs requested. Max logs per response is 20000."),
    "bsc": (-32005, "limit exceeded"),
}


def refuses_ranges(dialect: str, width: int) -> Before:
    """Refuse ``eth_getLogs`` over more blocks than this, in the words of one of ``DIALECTS``."""
    code, text = DIALECTS[dialect]

    async def before(method: str, params: list[Any]) -> None:
        query = params[0] if method == "eth_getLogs" else {}
        if "fromBlock" not in query:
            return
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        if last - first >= width:
            raise NodeError(code, text.format(width=width, first=first, last=first + width - 1))

    return before


def logs_up_to(count: int, message: str = "query returned more than 10000 results", code: int = -32005) -> After:
    """Refuse to answer more logs at once than this, be it of one block."""

    def after(method: str, _params: list[Any], result: Any) -> Any:
        if method == "eth_getLogs" and len(result) > count:
            raise NodeError(code, message)
        return result

    return after


def once(method: str, error: Exception) -> Before:
    """Fail the first call of a method: a subscription that is refused, a head that is not there."""
    left = [error]

    async def before(called: str, _params: list[Any]) -> None:
        if called == method and left:
            raise left.pop()

    return before


class RateLimit:
    """
    At most ``calls`` in ``seconds``; what is more is answered 429. A node's ``before``.

    ``refused`` counts what it refused. ``retry_after`` is what it tells to wait, in the form of the header.
    """

    def __init__(self, calls: int, seconds: float, retry_after: str | None = None) -> None:
        self.refused = 0
        self._calls = calls
        self._seconds = seconds
        self._headers = {} if retry_after is None else {"Retry-After": retry_after}
        self._at: list[float] = []

    async def __call__(self, _method: str, _params: list[Any]) -> None:
        """Let one call pass, or not."""
        now = time.monotonic()
        self._at = [at for at in self._at if at > now - self._seconds]
        if len(self._at) >= self._calls:
            self.refused += 1
            raise HttpAnswer(429, "<html>Too many requests</html>", self._headers)
        self._at.append(now)
