"""
What nodes and providers mean by their errors: come back later, ask for less, or simply no.

Each has its own codes and words, and one code may mean two things: -32005 is "too many requests" here and "too many
results" there. The words decide; what they leave open is taken for a plain error.
"""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from listener.chains.wire import RpcError
from listener.errors import ChainUnavailable

LONGEST_RETRY_AFTER_S = 3600.0  # more than that is a mistake, or no longer an endpoint
_READ = 400  # characters of a text that are looked at: the endpoint writes as many as it likes

_LIMIT_CODES = {429, -32029, -32090, -32097}
_RANGE_CODES = {-32614, -32008}
_LIMIT_WORDS = re.compile(
    r"rate.?limit|too many requests|request (?:limit|count)|requests? per|calls? per|per second|capacity|quota|"
    r"throughput|throttl|slow down|back.?off|credits|limit reached",
    re.IGNORECASE,
)
_RANGE_WORDS = re.compile(
    r"range|too (?:many|large|big|wide|much)|more than|response size|results|max logs|query timeout|timed out|"
    r"too long|limit exceeded|exceeds? (?:the )?limit",
    re.IGNORECASE,
)
_NUMBER = r"(\d[\d,_]*)\s?([kK]?)\b(?!\s*(?:results|logs))"
# What a node says that it takes, most exact first: the range itself, then its width.
_SUGGESTED = (
    re.compile(r"\[\s*(0x[0-9a-fA-F]+)\s*,\s*(0x[0-9a-fA-F]+)\s*\]"),  # Alchemy, Infura
    re.compile(r"range (\d+)\s?-\s?(\d+)"),  # reth and those who run it
)
_NAMED = (
    re.compile(rf"up to an? {_NUMBER}", re.IGNORECASE),  # Alchemy
    re.compile(rf"limited to (?:an? )?(?:0 ?- ?)?{_NUMBER}", re.IGNORECASE),  # QuickNode
    re.compile(rf"max(?:imum)?(?: allowed)?(?: block)? range[^\d]{{0,30}}{_NUMBER}", re.IGNORECASE),  # geth, reth, Ankr
    re.compile(rf"limit(?: of| is)? ?:? ?{_NUMBER}", re.IGNORECASE),  # Infura, Tenderly
    re.compile(rf"max(?:imum)? is (?:set to )?{_NUMBER}", re.IGNORECASE),  # Arbitrum, Pocket
    re.compile(rf"(?:ranges? over|greater than|more than|exceeds?) {_NUMBER} ?blocks", re.IGNORECASE),  # erigon, dRPC
)
_RETRY_IN = re.compile(r"(?:retry|try again) (?:in|after) (\d+(?:\.\d+)?) ?(ms|s|m)?", re.IGNORECASE)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}


class RateLimited(ChainUnavailable):
    """An endpoint wants fewer calls. ``retry_after_s`` is how long it asks to be left alone, where it says so."""

    def __init__(self, endpoint: str, method: str, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{endpoint}: {method}: {reason}")
        self.retry_after_s = retry_after_s


class RangeRefused(RpcError):
    """``eth_getLogs`` asked for more than the endpoint gives at once."""


class WrongChain(ChainUnavailable):
    """An endpoint of another chain."""

    def __init__(self, endpoint: str, found: int, expected: int) -> None:
        super().__init__(f"{endpoint}: it is chain {found}, not {expected}; correct the endpoint or chain_id")
        self.found = found
        self.expected = expected


def rpc_error(fault: Any, endpoint: str, method: str, status: int = 200) -> RpcError | RateLimited:
    """Turn the ``error`` member of an answer into what it means, whatever a node put there."""
    if not isinstance(fault, dict):
        fault = {"message": fault}
    code = fault.get("code")
    code = code if isinstance(code, int) else 0
    message = str(fault.get("message"))[:300]
    if status != 429 and (code == 3 or message.startswith("execution reverted")):
        return RpcError(endpoint, method, code, message)  # a contract's words are not the endpoint's
    words = f"{message} {_data_text(fault.get('data'))}"
    limited = status == 429 or code in _LIMIT_CODES or _LIMIT_WORDS.search(words) is not None
    if (
        method == "eth_getLogs"
        and not limited
        and (code in _RANGE_CODES or status == 413 or _RANGE_WORDS.search(words) is not None)
    ):
        return RangeRefused(endpoint, method, code, words.strip()[:_READ])
    if limited or code == -32005:
        return RateLimited(endpoint, method, f"error {code}: {message}", _told_pause_s(fault, words))
    return RpcError(endpoint, method, code, message)


def retry_after_s(header: str | None) -> float | None:
    """Read ``Retry-After``: seconds, or a date."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            at = parsedate_to_datetime(header)
        except ValueError:
            return None
        seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S) if seconds == seconds else None  # noqa: PLR0124 - "nan"


def named_width(text: str, first: int, last: int) -> tuple[int, bool] | None:
    """
    Find the width that a refusal of blocks ``first`` to ``last`` names.

    Returns:
        The width, smaller than what was refused, and whether it holds for every range; None where none is named.
    """
    refused = last - first + 1
    text = text[:_READ]
    named = [width for pattern in _NAMED for found in pattern.finditer(text) if (width := _width(found)) < refused]
    suggested = [width for pattern in _SUGGESTED for found in pattern.finditer(text) if (width := _span(found))]
    fitting = [width for width in suggested if width < refused]
    if named and (not fitting or named[0] <= fitting[0]):
        return max(named[0], 1), True
    return (fitting[0], False) if fitting else None


def _width(found: re.Match[str]) -> int:
    return int(found[1].replace(",", "").replace("_", "")) * (1000 if found[2] else 1)


def _span(found: re.Match[str]) -> int:
    first, last = (int(text, 16 if text.startswith("0x") else 10) for text in found.groups())
    return max(last - first + 1, 0)


def _data_text(data: Any) -> str:
    """Take the words out of an error's ``data``, where some providers put what they mean."""
    if isinstance(data, dict):
        return " ".join(str(value) for value in data.values() if isinstance(value, str))[:_READ]
    return data[:_READ] if isinstance(data, str) else ""


def _told_pause_s(fault: dict[str, Any], words: str) -> float | None:
    data = fault.get("data")
    rate = data.get("rate") if isinstance(data, dict) else None  # Infura
    told = rate.get("backoff_seconds") if isinstance(rate, dict) else None
    if isinstance(told, int | float):
        return retry_after_s(str(told))
    found = _RETRY_IN.search(words)
    return None if found is None else retry_after_s(str(float(found[1]) * _UNITS[found[2] and found[2].lower()]))
