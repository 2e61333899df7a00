"""Ready is what can do its work, and what cannot says why; live is what runs."""

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from asking import ask, ready, unready
from following import BLOCKS, PINGS, following, ping, write_config
from prometheus_client.parser import text_string_to_metric_families

from listener import metrics
from listener.chains import Chain
from listener.devnet.accounts import PERFORMER
from listener.devnet.aggregator import Aggregator
from listener.follower import finality
from listener.testing import FakeNode, NodeError
from listener.web import health


@pytest.fixture(autouse=True)
def _curious(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the aggregator whenever it is asked for."""
    monkeypatch.setattr(health, "FRESH_S", 0.0)
    monkeypatch.setattr(finality, "EVERY_S", 0.0)


async def test_a_daemon_that_follows_is_live_and_ready(node: FakeNode, aggregator: Aggregator, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS, aggregator=aggregator.url, http="healthcheck = true")
    async with following(config) as daemon:
        await ready(daemon.url)
        await node.mine()
        await daemon.walked(11)
        status, answer = await ask(daemon.url, "/health/ready")
        assert (status, answer["error"], answer["message"]) == (200, False, None)
        assert answer["data"] == {
            "ready": True,
            "reasons": [],
            "checks": [
                {"check": "chain l2", "reason": None, "head": 11, "cursor": 11, "lag": 0, "lag_s": 0},
                {"check": "aggregator", "reason": None},
                {"check": "key", "reason": None, "performer": PERFORMER.address},
            ],
        }
        alive = (200, {"data": True, "error": False, "message": None})
        assert await ask(daemon.url, "/health/live") == await ask(daemon.url, "/healthcheck") == alive


async def test_an_attester_whose_chain_has_never_answered_is_not_ready(node: FakeNode) -> None:
    async with aiohttp.ClientSession() as session:
        chain = Chain("l2", node.chain_id)
        chain.add(node.http_url, "node", session)
        check = health.reading_check(chain, 3600)
        async with chain.attended():
            await node.close()
            assert (await check()).reason == "no endpoint has told its newest block yet"
            await node.start()
            assert (await check()).reason is None


async def test_without_the_key_there_is_no_healthcheck(node: FakeNode, tmp_path: Path) -> None:
    async with following(write_config(tmp_path, [node.ws_url], BLOCKS)) as daemon:
        assert (await ask(daemon.url, "/healthcheck"))[0] == 404


async def test_a_chain_that_cannot_be_read_is_named_until_it_can(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    config = write_config(tmp_path, [node.ws_url], PINGS, aggregator=aggregator.url)
    async with following(config) as daemon:
        await ready(daemon.url)
        await node.close()
        answer = await unready(daemon.url, "chain l2: no endpoint is connected")
        assert answer["error"] is True
        assert answer["message"] == "; ".join(answer["data"]["reasons"])
        assert (await ask(daemon.url, "/health/live"))[0] == 200
        await node.start()
        await ready(daemon.url)


async def test_an_endpoint_over_http_that_tells_nothing_for_long_is_no_endpoint(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    chain = 'max_lag = "1s"'
    config = write_config(tmp_path, [node.http_url], PINGS, chain=chain, aggregator=aggregator.url)
    async with following(config) as daemon:
        await ready(daemon.url)
        await node.close()
        await unready(daemon.url, "chain l2: no endpoint has told its newest block for")
        await node.start()
        await ready(daemon.url)


async def test_a_chain_that_is_behind_its_head_by_more_than_its_limit_is_named(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    config = write_config(tmp_path, [node.ws_url], PINGS, chain='max_lag = "20s"', aggregator=aggregator.url)
    async with following(config) as daemon:
        await ready(daemon.url)
        await node.mine()
        await daemon.walked(11)

        async def no_logs(method: str, _params: list[Any]) -> None:
            if method == "eth_getLogs":
                raise NodeError(-32000, "not today")

        node.before = no_logs
        for number in range(30):
            node.chain.add(ping(value=number))
        await node.mine()
        answer = await unready(daemon.url, "blocks behind its head")
        (check,) = [each for each in answer["data"]["checks"] if each["check"] == "chain l2"]
        assert check["lag"] > 1
        assert check["lag_s"] > 20


async def test_a_halted_chain_is_named_with_its_reason(node: FakeNode, aggregator: Aggregator, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url], PINGS, aggregator=aggregator.url)
    async with following(config) as daemon:
        await ready(daemon.url)
        node.chain.final = 10
        for number in (11, 12, 13):
            await node.mine()
            await daemon.walked(number)
        await daemon.until(lambda: daemon.chain["final"] == 10)
        node.chain.fork(5)
        await node.mine(count=6)
        await unready(daemon.url, "chain l2: halted: ", "listener chains rewind l2 --to")
        assert (await ask(daemon.url, "/health/live"))[0] == 200


async def test_an_aggregator_that_nobody_reaches_is_named_until_it_is_there(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    config = write_config(tmp_path, [node.ws_url], PINGS, aggregator=aggregator.url)
    async with following(config) as daemon:
        await ready(daemon.url)
        await aggregator.close()
        await unready(daemon.url, f"aggregator: {aggregator.url}: no connection: ")
        await aggregator.start()
        await ready(daemon.url)


async def test_metrics_are_what_prometheus_reads(node: FakeNode, aggregator: Aggregator, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url], PINGS, aggregator=aggregator.url, http='token = "word-by-word"')
    async with following(config) as daemon, aiohttp.ClientSession() as session:
        await ready(daemon.url)
        async with session.get(daemon.url + "/metrics") as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"] == metrics.CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"
            families = list(text_string_to_metric_families(await answer.text()))
        assert "listener_endpoint_head_block" in {family.name for family in families}
