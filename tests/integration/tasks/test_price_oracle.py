"""The price oracle end to end: a real daemon's parts, a real store, and an attester with sources of its own."""

import json
import sys
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).parent.parent))
from following import following, vote, write_config

from listener.devnet.aggregator import Aggregator
from listener.devnet.prices import Prices
from listener.proofs.unixfs import cid_of
from listener.testing import FakeIpfs, FakeNode


def rule(prices: Prices, settings: str = "", **more: Any) -> str:
    sources = ", ".join(
        "{" + ", ".join(f"{key} = {json.dumps(value)}" for key, value in each.items()) + "}"
        for each in prices.sources()
    )
    given = "".join(f"{key} = {value}\n" for key, value in more.items())
    return (
        '[[rules]]\nname = "price"\ntask = "tasks.price_oracle"\ntask_definition_id = 5\n'
        f'trigger = {{ type = "block", every = 2 }}\nmax_attempts = 1\n{given}'
        f"settings = {{ block_age_s = 1000000000, {settings}sources = [{sources}] }}\n"
    )


async def test_it_is_executed_checked_accepted_and_approved(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    async with Prices() as prices:
        config = write_config(tmp_path, [node.ws_url], rule(prices), aggregator=aggregator.url)
        async with following(config, attests=True) as daemon:
            await daemon.walked(10)
            await node.mine(count=4)
            await daemon.until(lambda: daemon.states("price") == [(12, "accepted"), (14, "accepted")])
            for call in aggregator.accepted:
                assert await vote(daemon.url, call) is True
                wrong = call.data[:-1] + bytes((call.data[-1] ^ 1,))
                assert await vote(daemon.url, type(call)(**{**_fields(call), "data": wrong})) is False


async def test_what_the_sources_do_not_agree_on_is_never_signed(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    async with Prices() as prices:
        prices.says = {"binance": "NaN", "binance-us": "0", "coinbase": "-1"}
        config = write_config(tmp_path, [node.ws_url], rule(prices), aggregator=aggregator.url)
        async with following(config) as daemon:
            await daemon.walked(10)
            await node.mine(count=2)
            await daemon.until(lambda: daemon.states("price") == [(12, "failed")])
        assert "1 of 4 sources agree" in daemon.rows[0]["error"]
        assert not aggregator.accepted


def example_approves(stored: Any, fresh: float) -> bool:
    """Judge as the Price Oracle example does what a gateway gave it: within 5 % of a fresh price, bounds included."""
    return not (float(stored["price"]) > fresh * 1.05 or float(stored["price"]) < fresh * 0.95)


async def test_the_price_oracle_example_and_this_one_judge_each_others_proofs(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    async with Prices() as prices, FakeIpfs().open() as gateway:
        prices.moves = False
        config = write_config(
            tmp_path,
            [node.ws_url],
            rule(prices, 'text = "hello", '),
            aggregator=aggregator.url,
            more=f'[proofs]\ngateways = ["{gateway.url}"]\n',
        )
        async with following(config, attests=True) as daemon:
            await daemon.walked(10)
            await node.mine(count=2)
            await daemon.until(lambda: daemon.states("price") == [(12, "accepted")])
            (ours,) = aggregator.accepted
            assert ours.data == b"hello"
            # The example's service adds the CID to its gateway's URL, and reads the price alone.
            url = f"{daemon.url}/ipfs/{ours.proof_of_task}"
            async with aiohttp.ClientSession() as session, session.get(url) as response:
                stored = json.loads(await response.read())
            assert example_approves(stored, 1800)
            assert example_approves(stored, 1800 / 1.049)
            assert not example_approves(stored, 1800 / 1.051)

            for price, approved in (("1889.99000000", True), ("1890.01000000", False), ("NaN", False), (None, False)):
                said = {"symbol": "ETHUSDT"} if price is None else {"symbol": "ETHUSDT", "price": price}
                content = json.dumps(said, separators=(",", ":")).encode()  # as JavaScript writes it, in its order
                cid = cid_of(content, 0)
                gateway.kept[cid.name] = content
                theirs = type(ours)(**{**_fields(ours), "proof_of_task": str(cid)})
                assert await vote(daemon.url, theirs) is approved, price


def _fields(call: Any) -> dict[str, Any]:
    return {name: getattr(call, name) for name in call.__dataclass_fields__}
