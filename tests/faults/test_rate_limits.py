"""An endpoint that wants fewer calls gets fewer, and as many as it takes."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from following import BLOCKS, PINGS, following, ping, write_config
from structlog.testing import capture_logs

from listener.testing import FakeNode, HttpAnswer, NodeError, RateLimit

FOLLOWER = "follower"


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_an_endpoint_is_left_alone_for_as_long_as_it_says(node: FakeNode, tmp_path: Path, form: str) -> None:
    until = time.time() + 2
    refusals: list[float] = []

    async def busy(method: str, _params: list[Any]) -> None:
        if method == "eth_getLogs" and not refusals:
            refusals.append(time.time())
            wait = "2" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
            raise HttpAnswer(429, "<html>slow down</html>", {"Retry-After": wait})
        if refusals and time.time() < refusals[0] + 1.5:
            early.append(method)

    early: list[str] = []
    node.before = busy
    async with following(write_config(tmp_path, [node.http_url], PINGS), FOLLOWER) as daemon:
        await daemon.walked(10)
        node.chain.add(ping())
        await daemon.walked(11)
    assert early == []
    assert until


async def test_while_one_is_left_alone_another_is_asked(node: FakeNode, tmp_path: Path) -> None:
    async with FakeNode(node.chain) as second:
        config = write_config(tmp_path, [node.http_url, second.http_url], PINGS)
        async with following(config, FOLLOWER) as daemon:
            await daemon.walked(10)

            async def busy(_method: str, _params: list[Any]) -> None:
                raise HttpAnswer(429, "", {"Retry-After": "3600"})

            node.before = busy
            for _ in range(5):
                node.chain.add(ping())
                await daemon.walked(node.chain.head.number)
            assert len(node.calls) < 20
            assert second.count("eth_getLogs") == 5


@pytest.mark.parametrize("transport", ["ws", "http"])
async def test_in_a_storm_of_refusals_the_rate_settles_and_all_is_read(
    node: FakeNode, tmp_path: Path, transport: str
) -> None:
    node.chain.add(count=200)
    limit = node.before = RateLimit(20, 0.25)
    url = node.ws_url if transport == "ws" else node.http_url
    with capture_logs() as lines:
        async with following(write_config(tmp_path, [url], BLOCKS, chain="start = 11"), FOLLOWER) as daemon:
            await daemon.walked(210)
    assert daemon.states() == [(number, "pending") for number in range(11, 211)]
    answered = len(node.calls) - limit.refused
    assert limit.refused < answered / 2
    assert "endpoint.limited" in [line["event"] for line in lines]


@pytest.mark.parametrize(
    ("code", "message", "data"),
    [
        (-32005, "daily request count exceeded, request rate limited", {"rate": {"backoff_seconds": 0.3}}),
        (429, "Your app has exceeded its compute units per second capacity", None),
        (-32007, "15/second request limit reached - reduce calls per second", None),
        (-32090, "Too many requests, reason: call rate limit exhausted, retry in 300ms", None),
    ],
    ids=["infura", "alchemy", "quicknode", "ankr"],
)
async def test_a_json_rpc_error_may_mean_the_same(
    node: FakeNode, tmp_path: Path, code: int, message: str, data: Any
) -> None:
    left = [NodeError(code, message, data)]

    async def busy(method: str, _params: list[Any]) -> None:
        if method == "eth_getLogs" and left:
            raise left.pop()

    node.before = busy
    with capture_logs() as lines:
        async with following(write_config(tmp_path, [node.ws_url], PINGS), FOLLOWER) as daemon:
            await daemon.walked(10)
            await node.mine(ping())
            await daemon.walked(11)
    events = [line["event"] for line in lines]
    assert "endpoint.limited" in events
    assert "range.narrowed" not in events
    assert "chain.unavailable" not in events
