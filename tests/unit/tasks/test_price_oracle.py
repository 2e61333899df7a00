"""The price oracle, called as the daemon calls it, against sources on loopback."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web
from eth_abi.abi import decode
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from pydantic import ValidationError

from listener import Claim, ProofUnavailable, TaskContext, TaskResult, Verdict, strangers
from listener.devnet.prices import Prices
from listener.testing import claim_context, context
from tasks import price_oracle
from tasks.price_oracle import NoPrice, Settings, near, settle

SOMEONE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
NOW = int(time.time())


@pytest.fixture
async def prices() -> AsyncIterator[Prices]:
    async with Prices() as local:
        local.moves = False
        yield local


def settings_of(prices: Prices, **changed: Any) -> Settings:
    return Settings.model_validate({"sources": prices.sources(), **changed})


def at(settings: Settings, number: int = 120, **changed: Any) -> TaskContext[Settings]:
    return context(settings, block_number=number, block_timestamp=changed.pop("timestamp", NOW), **changed)


def claim_of(result: TaskResult, **changed: Any) -> Claim:
    return replace(Claim(result.proof_of_task, result.data, 0, SOMEONE), **changed)


async def judged(claim: Claim, ctx: TaskContext[Settings]) -> Verdict:
    judging = claim_context(claim, ctx.settings, found=[ctx])
    try:
        return await price_oracle.validate(judging, claim)
    except ProofUnavailable as error:  # a CID that nobody has is no vote
        return Verdict.unsure(str(error))


def example_approves(stored: Any, fresh: float) -> bool:
    """Judge as the Price Oracle example does: reject only what lies outside 5 % of a fresh price."""
    price = float(stored["price"]) if isinstance(stored.get("price"), str) else float("nan")
    return not (price > fresh * 1.05 or price < fresh * 0.95)


async def test_the_median_of_four_sources_is_signed_with_its_block(prices: Prices) -> None:
    prices.says = {"binance": "1799.5", "coinbase": "1800.25"}
    ctx = at(settings_of(prices))
    result = await price_oracle.execute(ctx)
    assert decode(["string", "uint256", "uint8", "uint64"], result.data) == ("ETHUSDT", 1800 * 10**8, 8, 120)
    stored = await ctx.proofs.get(result.proof_of_task)
    assert stored == {
        "symbol": "ETHUSDT",
        "price": "1800.00000000",
        "sources": [
            {"name": "binance", "price": "1799.5"},
            {"name": "binance-us", "price": "1800"},
            {"name": "coinbase", "price": "1800.25"},
            {"name": "kraken", "price": "1800"},
        ],
        "blockNumber": 120,
        "blockHash": f"0x{bytes(ctx.trigger.block_hash).hex()}",
        "time": NOW,
    }
    assert await judged(claim_of(result), ctx) == Verdict.approve()


async def test_a_proof_inline_is_the_bare_price_and_its_block(prices: Prices) -> None:
    ctx = at(settings_of(prices, proof="inline", decimals=2))
    result = await price_oracle.execute(ctx)
    assert result.proof_of_task == f"1800.00+120+0x{bytes(ctx.trigger.block_hash).hex()}"
    assert await judged(claim_of(result), ctx) == Verdict.approve()


async def test_data_is_the_text_of_the_settings_where_there_is_one(prices: Prices) -> None:
    ctx = at(settings_of(prices, text="hello"))
    result = await price_oracle.execute(ctx)
    assert result.data == b"hello"
    assert await judged(claim_of(result), ctx) == Verdict.approve()
    assert (await judged(claim_of(result, data=b"hullo"), ctx)).approved is False


BAD = [
    *("NaN", "nan", "Infinity", "-1800", "0", "0.0", "", " 1800", "1e3", "1_800", "0x1", "١٨٠٠", "1" * 40, None),
    *(True, 0, -1, [], {}, web.Response(status=500), web.Response(status=451, body=b"{}")),
    *(
        web.Response(body=b"no json"),
        web.Response(body=b'{"lastPrice": NaN}'),
        web.Response(body=b'{"lastPrice": 1e999}'),
    ),
    *(web.Response(body=b"[]"), web.Response(body=b"{}"), web.Response(body=b"{" * 70_000)),
    web.Response(status=302, headers={"Location": "/binance-us"}),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda each: repr(each)[:30])
async def test_a_source_that_gives_no_price_is_left_out(prices: Prices, bad: Any) -> None:
    prices.says["binance"] = bad
    ctx = at(settings_of(prices))
    stored = await ctx.proofs.get((await price_oracle.execute(ctx)).proof_of_task)
    assert [each["name"] for each in stored["sources"]] == ["binance-us", "coinbase", "kraken"]


async def test_an_outlier_is_left_out(prices: Prices) -> None:
    prices.says = {"binance": "900"}
    ctx = at(settings_of(prices))
    stored = await ctx.proofs.get((await price_oracle.execute(ctx)).proof_of_task)
    assert [each["name"] for each in stored["sources"]] == ["binance-us", "coinbase", "kraken"]


def test_a_source_at_the_bound_is_used_and_one_beyond_it_is_not() -> None:
    for last, used in (("102", 3), ("102.0000001", 2), ("98", 3), ("97.9999999", 2)):
        prices = {"a": Decimal(100), "b": Decimal(100), "c": Decimal(last)}
        assert len(settle(prices, Settings(outlier=Decimal("0.02")))[0]) == used


async def test_sources_that_tell_an_old_time_are_left_out(prices: Prices) -> None:
    prices.age_s = 121
    with pytest.raises(NoPrice, match="1 of 4 sources agree"):
        await price_oracle.execute(at(settings_of(prices)))
    prices.age_s = 60
    await price_oracle.execute(at(settings_of(prices)))


async def test_without_enough_sources_nothing_is_signed(prices: Prices) -> None:
    prices.says = dict.fromkeys(("binance", "binance-us", "coinbase"), web.Response(status=503))
    with pytest.raises(NoPrice, match="1 of 4 sources agree on a price of ETHUSDT; min_sources is 2"):
        await price_oracle.execute(at(settings_of(prices)))
    await price_oracle.execute(at(settings_of(prices, min_sources=1)))


@pytest.mark.parametrize("bad", ["0", "0.000", "-1", "NaN"])
async def test_what_is_no_price_is_none_though_all_sources_agree_on_it(prices: Prices, bad: str) -> None:
    prices.says = dict.fromkeys(("binance", "binance-us", "coinbase", "kraken"), bad)
    with pytest.raises(NoPrice, match="0 of 4"):
        await price_oracle.execute(at(settings_of(prices, min_sources=1)))


async def test_two_sources_that_disagree_are_none(prices: Prices) -> None:
    prices.says = {"binance": "1700", **dict.fromkeys(("binance-us", "coinbase"), "0")}
    with pytest.raises(NoPrice, match="0 of 4"):
        await price_oracle.execute(at(settings_of(prices)))


async def test_an_old_block_gets_no_price_of_today(prices: Prices) -> None:
    ctx = at(settings_of(prices), timestamp=NOW - 700)
    with pytest.raises(NoPrice, match="block_age_s is 600"):
        await price_oracle.execute(ctx)
    assert prices.asked == 0


async def test_a_price_that_rounds_to_nothing_is_none(prices: Prices) -> None:
    prices.says = dict.fromkeys(("binance", "binance-us", "coinbase", "kraken"), "0.001")
    with pytest.raises(NoPrice, match="more than 2 decimals"):
        await price_oracle.execute(at(settings_of(prices, decimals=2)))


async def signed(ctx: TaskContext[Settings], **changed: Any) -> TaskResult:
    """Make a result of a proof that was changed, with the data of what it was."""
    result = await price_oracle.execute(ctx)
    stored = dict(await ctx.proofs.get(result.proof_of_task))
    for key, value in changed.items():
        if value is None:
            del stored[key]
        else:
            stored[key] = value
    return TaskResult(await ctx.proofs.put(stored), result.data)


WRONG: list[dict[str, Any]] = [
    {"symbol": "BTCUSDT"},
    {"symbol": None},
    {"price": "1801.00000000"},
    {"price": "1800"},
    {"price": "NaN"},
    {"price": None},
    {"price": 1800},
    {"sources": []},
    {"sources": None},
    {"sources": [{"name": "kraken", "price": "1800"}]},
    {"sources": [{"name": "kraken", "price": "1800"}] * 4},
    {"sources": [{"name": each, "price": "NaN"} for each in "abcd"]},
    {"sources": [{"name": each, "price": "01800"} for each in "abcd"]},
    {"sources": [{"name": each, "price": "1800" if each > "a" else "1"} for each in "abcd"]},
    {"sources": [{"name": f"s{each}", "price": "1800"} for each in range(33)]},
    {"blockNumber": 121},
    {"blockNumber": "120"},
    {"blockNumber": -1},
    {"blockNumber": True},
    {"blockHash": f"0x{'ab' * 32}"},
    {"blockHash": None},
    {"time": NOW + 1},
    {"time": None},
    {"more": 1},
]


@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))  # workers start at different times
async def test_a_proof_that_does_not_fit_itself_its_block_or_its_data_is_rejected(
    prices: Prices, wrong: dict[str, Any]
) -> None:
    ctx = at(settings_of(prices))
    result = await signed(ctx, **wrong)
    assert (await judged(claim_of(result), ctx)).approved is False


async def test_a_price_beyond_the_tolerance_is_rejected_and_at_the_bound_it_is_not(prices: Prices) -> None:
    ctx = at(settings_of(prices))
    result = await price_oracle.execute(ctx)
    for own, approved in (("1714.2857142857142857143", True), ("1714.28", False), ("1894.73", True), ("1895", False)):
        prices.price = Decimal(own)
        fresh = replace(ctx, settings=settings_of(prices, timeout_s=4 if approved else 6))  # nothing is shared
        strangers._answers.clear()
        assert (await judged(claim_of(result), fresh)).approved is approved, own


async def test_claims_that_come_together_are_judged_by_one_reading(prices: Prices) -> None:
    ctx = at(settings_of(prices))
    result = await price_oracle.execute(ctx)
    for performer in (SOMEONE, price_oracle.__name__, "another"):
        assert (await judged(claim_of(result, performer=performer), ctx)).approved
    assert prices.asked == 8


async def test_a_claim_that_does_not_fit_asks_no_source(prices: Prices) -> None:
    ctx = at(settings_of(prices))
    result = await price_oracle.execute(ctx)
    for changed in ({"data": result.data[:-1] + b"\x01"}, {"proof_of_task": "x"}, {"proof_of_task": ""}):
        assert (await judged(claim_of(result, **changed), ctx)).approved is False
    assert prices.asked == 4


async def test_an_attester_whose_own_sources_are_away_is_unsure(prices: Prices) -> None:
    ctx = at(settings_of(prices))
    result = await price_oracle.execute(ctx)
    prices.says = dict.fromkeys(("binance", "binance-us", "coinbase"), web.Response(status=503))
    assert (await judged(claim_of(result), ctx)).approved is None


async def test_a_claim_for_an_old_block_is_rejected(prices: Prices) -> None:
    ctx = at(settings_of(prices))
    result = await price_oracle.execute(ctx)
    strict = replace(ctx, settings=settings_of(prices, block_age_s=1), trigger=ctx.trigger)
    old = replace(ctx.trigger, block_timestamp=NOW - 10)
    stored = {**(await ctx.proofs.get(result.proof_of_task)), "time": NOW - 10}
    claim = claim_of(result, proof_of_task=await ctx.proofs.put(stored))
    verdict = await judged(claim, replace(strict, trigger=old))
    assert (verdict.approved, "s old" in verdict.reason) == (False, True)


# Beside the Price Oracle example


async def test_the_examples_validator_approves_our_proof(prices: Prices) -> None:
    ctx = at(settings_of(prices, text="hello"))
    result = await price_oracle.execute(ctx)
    stored = json.loads(json.dumps(await ctx.proofs.get(result.proof_of_task)))
    assert example_approves(stored, 1800.0)
    assert not example_approves(stored, 1900.0)


@pytest.mark.parametrize(
    ("stored", "approved"),
    [
        ({"symbol": "ETHUSDT", "price": "1800.12000000"}, True),
        ({"symbol": "ETHUSDT", "price": "1890.00000000"}, True),
        ({"symbol": "ETHUSDT", "price": "1890.01"}, False),
        ({"symbol": "ETHUSDT", "price": "NaN"}, False),
        ({"symbol": "ETHUSDT"}, False),
        ({"symbol": "BTCUSDT", "price": "1800"}, False),
        ({"price": "1800"}, False),
        ([], False),
        ("1800", False),
    ],
    ids=str,
)
async def test_the_examples_proof_is_judged_by_its_price(prices: Prices, stored: Any, approved: bool) -> None:  # noqa: FBT001 - a column
    ctx = at(settings_of(prices, text="hello"))
    claim = Claim(await ctx.proofs.put(stored), b"hello", 0, SOMEONE)
    assert (await judged(claim, ctx)).approved is approved
    assert (await judged(replace(claim, data=b"hellO"), ctx)).approved is False
    encoded = at(settings_of(prices))
    assert (await judged(claim, encoded)).approved is False, "without a text there is a block in the data"


# Whatever the prices are


PRICES = st.decimals(min_value="0.01", max_value="1000000", places=6)


@given(st.lists(PRICES, min_size=1, max_size=9))
def test_the_price_lies_among_those_used_and_is_settled_the_same_again(found: list[Decimal]) -> None:
    settings = Settings(min_sources=1, decimals=18)
    try:
        used, price = settle({f"s{number}": each for number, each in enumerate(found)}, settings)
    except NoPrice:
        return
    values = [Decimal(each) for each in used.values()]
    assert min(values) <= Decimal(price) <= max(values)
    units = int(price.replace(".", ""))
    assert units == Decimal(price).scaleb(18)


@given(PRICES, PRICES)
def test_near_is_exact(one: Decimal, other: Decimal) -> None:
    assert near(one, other, Decimal("0.05")) is (100 * abs(one - other) <= 5 * other)


@settings_of_hypothesis(deadline=None, max_examples=50)
@given(data=st.data())
async def test_a_claim_with_any_byte_changed_is_not_approved(data: st.DataObject) -> None:
    async with Prices() as local:
        local.moves = False
        kind = data.draw(st.sampled_from(["store", "inline"]))
        ctx = at(settings_of(local, proof=kind))
        claim = claim_of(await price_oracle.execute(ctx))
        whole = bytearray(claim.proof_of_task.encode() + claim.data)
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] ^= data.draw(st.integers(1, 127))
        size = len(claim.proof_of_task)
        proof = whole[:size].decode(errors="replace")
        changed = replace(claim, proof_of_task=proof, data=bytes(whole[size:]))
        assert not (await judged(changed, ctx)).approved
        assert (await judged(claim, ctx)).approved is True


@pytest.mark.parametrize(
    "wrong",
    [
        {"tolerance": "NaN"},
        {"tolerance": 1},
        {"outlier": 0},
        {"decimals": 19},
        {"sources": []},
        {"base": "e/t"},
        {"x": 1},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)


def test_the_default_sources_are_four_and_answer_over_https() -> None:
    assert [each.url.split("/")[0] for each in Settings().sources] == ["https:"] * 4
    assert len({each.name for each in Settings().sources}) == 4
