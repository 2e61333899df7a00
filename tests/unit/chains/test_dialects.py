"""What providers mean by their words; a text that says nothing, or too much, is no more than an error."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from listener.chains.dialects import RangeRefused, RateLimited, named_width, retry_after_s, rpc_error
from listener.chains.limits import PATIENCE, WIDEST, RangeLimit
from listener.chains.wire import RpcError

ALCHEMY = (
    "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range and no limit on the "
    "response size, or you can request any block range with a cap of 10K logs in the response. Based on your "
    "parameters and the response size limit, this block range should work: [0xb, 0x1f]"
)


@pytest.mark.parametrize(
    ("text", "width", "holds"),
    [
        ("make eth_getLogs requests with up to a 10 block range. It should work: [0xb, 0x14]", 10, True),
        (
            ALCHEMY,
            21,
            False,
        ),
        ("query returned more than 10000 results. Try with this block range [0xB, 0x2D].", 35, False),
        ("range 9009594 is bigger than range limit 200", 200, True),
        ("eth_getLogs is limited to a 2,000 range", 2000, True),
        ("requested too many blocks from 0 to 5000000, maximum is set to 1024", 1024, True),
        ("query exceeds max results 20000, retry with the range 11-110", 100, False),
        ("Max range: 800", 800, True),
        ("range too large, max is 1k blocks", 1000, True),
        ("ranges over 1000 blocks are not supported on freetier", 1000, True),
        ("limited to 0 - 1 blocks range", 1, True),
        ("block range is too wide", None, False),
        ("query returned more than 10000 results", None, False),
        ("exceed maximum block range: 50000", None, False),  # wider than what was refused: not meant
        ("should work: [0x20, 0x10]", None, False),
        ("max block range " + "9" * 5000, None, False),
    ],
)
def test_the_width_that_is_named_is_found(text: str, width: int | None, holds: bool) -> None:  # noqa: FBT001 - a case
    assert named_width(text, 11, 5010) == (None if width is None else (width, holds))


@pytest.mark.parametrize(
    ("method", "fault", "kind"),
    [
        ("eth_getLogs", {"code": -32005, "message": "query returned more than 10000 results"}, RangeRefused),
        ("eth_getLogs", {"code": -32005, "message": "limit exceeded"}, RangeRefused),
        ("eth_getLogs", {"code": -32602, "message": "invalid params", "data": {"payload": "range 9 is"}}, RangeRefused),
        ("eth_getLogs", {"code": -32005, "message": "daily request count exceeded"}, RateLimited),
        ("eth_getLogs", {"code": -32000, "message": "unknown block"}, RpcError),
        ("eth_call", {"code": -32005, "message": "limit exceeded"}, RateLimited),
        ("eth_call", {"code": 3, "message": "execution reverted: out of range"}, RpcError),
        ("eth_call", {"code": -32000, "message": "execution reverted: mint limit reached"}, RpcError),
        ("eth_call", {"code": 429}, RateLimited),
        ("eth_call", "no", RpcError),
        ("eth_call", {"code": [], "message": {}, "data": []}, RpcError),
    ],
)
def test_an_error_is_what_its_words_say(method: str, fault: Any, kind: type[Exception]) -> None:
    assert type(rpc_error(fault, "node", method)) is kind


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("", None), ("2", 2), ("0.5", 0.5), ("-1", 0), ("nan", None), ("soon", None), ("99999999", 3600)],
)
def test_retry_after_is_read_and_bounded(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header) == seconds


def test_retry_after_may_be_a_date() -> None:
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 58 <= (retry_after_s(in_a_minute) or 0) <= 60
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0


def test_a_width_that_was_found_by_halving_grows_again_and_a_named_one_does_not() -> None:
    limit = RangeLimit()
    assert limit.width == WIDEST
    limit.refused(1, 1000, "block range is too wide")
    assert limit.width == 500
    for _ in range(PATIENCE):
        limit.read(limit.width)
    assert limit.width == 1000
    limit.refused(1, 1000, "limited to a 100 range")
    for _ in range(3 * PATIENCE):
        limit.read(limit.width)
    assert limit.width == 100


def test_a_width_never_ends_below_one_block_and_comes_back_from_there() -> None:
    limit = RangeLimit()
    for _ in range(20):
        limit.refused(1, limit.width, "too much")
    assert limit.width == 1
    for _ in range(PATIENCE):
        limit.read(1)
    assert limit.width == 2
