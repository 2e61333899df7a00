"""
Ways in which a node answers wrongly, for a fake node's ``before`` and ``after``.

How a connection breaks is in ``node.py``; here are the answers.
"""

from collections.abc import Awaitable, Callable
from typing import Any

Before = Callable[[str, list[Any]], Awaitable[Any]]
After = Callable[[str, list[Any], Any], Any]


class NodeError(Exception):
    """Answered as a JSON-RPC error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


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
