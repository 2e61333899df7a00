"""
The price of a pair at a block, from several sources: their median, without outliers.

The proof is stored, and holds what each source said; with ``proof = "inline"`` it is the bare price and its block. An
attester checks that the proof fits itself, its block and the data, and that its own sources say nearly the same.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, DecimalException, localcontext
from statistics import median
from typing import Any, Literal

from eth_abi.abi import encode
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from listener import Claim, ClaimContext, FetchFailed, ProofRejected, TaskContext, TaskResult, Verdict, fetch

LARGEST = Decimal(10) ** 30
SHARED_S = 2.0  # how long attesters' claims are judged by one reading, whoever sends them
_NUMBER = re.compile(r"[0-9]{1,30}(\.[0-9]{1,30})?")
_INLINE = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,18})?)\+([0-9]{1,18})\+(0x[0-9a-f]{64})")


class Strict(BaseModel):
    """A table without unknown keys that is not changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(Strict):
    """
    Where a price is asked for.

    Args:
        url: with ``{base}`` and ``{quote}``.
        price: where it stands in the answer: keys and places with dots between, ``*`` for the only member there.
        time: where the price's time stands, in the same way; empty where the source tells none.
    """

    name: str = Field(pattern=r"^[a-z0-9_-]{1,32}$")
    url: str
    price: str
    time: str = ""


BINANCE = "/api/v3/ticker/24hr?symbol={base}{quote}"
SOURCES = (
    Source(name="binance", url=f"https://api.binance.com{BINANCE}", price="lastPrice", time="closeTime"),
    Source(name="binance-us", url=f"https://api.binance.us{BINANCE}", price="lastPrice", time="closeTime"),
    Source(
        name="coinbase",
        url="https://api.exchange.coinbase.com/products/{base}-{quote}/ticker",
        price="price",
        time="time",
    ),
    Source(name="kraken", url="https://api.kraken.com/0/public/Ticker?pair={base}{quote}", price="result.*.c.0"),
)


class Settings(Strict):
    """What the rule may change; shares are of one: ``"0.05"`` is 5 %."""

    base: str = Field(default="ETH", pattern=r"^[A-Z0-9]{1,12}$")
    quote: str = Field(default="USDT", pattern=r"^[A-Z0-9]{1,12}$")
    sources: tuple[Source, ...] = Field(default=SOURCES, min_length=1, max_length=32)
    min_sources: int = Field(default=2, ge=1)
    outlier: Decimal = Field(default=Decimal("0.02"), gt=0, lt=1)  # a source further from the median is left out
    tolerance: Decimal = Field(default=Decimal("0.05"), gt=0, lt=1)  # between a claim and one's own reading
    decimals: int = Field(default=8, ge=0, le=18)
    stale_s: int = Field(default=120, ge=1)  # a source whose price is further from now is left out
    block_age_s: int = Field(default=600, ge=1)  # today's price is not that of an older block
    proof: Literal["store", "inline"] = "store"
    text: str | None = None  # data is this text in UTF-8, as in the stack's examples, in place of the encoded price
    timeout_s: int = Field(default=5, ge=1)  # of one source

    @property
    def symbol(self) -> str:
        """The pair as the proof names it."""
        return self.base + self.quote


class Said(BaseModel):
    """One source in a proof."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    name: str = Field(pattern=r"^[a-z0-9_-]{1,32}$")
    price: str


class Proof(BaseModel):
    """What is stored. ``time`` is the block's, in Unix seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    symbol: str
    price: str
    sources: list[Said] = Field(min_length=1, max_length=32)
    blockNumber: int = Field(ge=0, lt=2**63)  # noqa: N815 - as JSON has it
    blockHash: str = Field(pattern=r"^0x[0-9a-f]{64}$")  # noqa: N815
    time: int = Field(ge=0, lt=2**63)


class NoPrice(Exception):
    """There is no price that may be signed or judged by."""


async def execute(ctx: TaskContext[Settings]) -> TaskResult:
    """
    Price the trigger's block.

    ``data`` is ``abi.encode(string symbol, uint256 price, uint8 decimals, uint64 blockNumber)``, or the ``text``.
    """
    settings, trigger = ctx.settings, ctx.trigger
    _check_age(trigger.block_timestamp, settings)
    said, price = settle(await _read_all(settings), settings)
    block_hash = f"0x{bytes(trigger.block_hash).hex()}"
    if settings.proof == "inline":
        proof = f"{price}+{trigger.block_number}+{block_hash}"
    else:
        proof = await ctx.proofs.put(
            {
                "symbol": settings.symbol,
                "price": price,
                "sources": [{"name": name, "price": each} for name, each in said.items()],
                "blockNumber": trigger.block_number,
                "blockHash": block_hash,
                "time": trigger.block_timestamp,
            }
        )
    ctx.log.info("price.read", symbol=settings.symbol, price=price, sources=len(said))
    return TaskResult(proof, _data(price, trigger.block_number, settings))


async def validate(ctx: ClaimContext[Settings], claim: Claim) -> Verdict:
    """Check the proof by itself, by its block and by the data, and only then by what our own sources say."""
    settings = ctx.settings
    try:
        price = await _consistent(ctx, claim)
    except (ProofRejected, NoPrice) as error:
        return Verdict.reject(str(error))
    try:
        _, own = settle(await _read_all(settings, shared_s=SHARED_S), settings)
    except NoPrice as error:
        return Verdict.unsure(str(error))
    if not near(Decimal(price), Decimal(own), settings.tolerance):
        return Verdict.reject(f"the price is {price}, and our own sources say {own}")
    return Verdict.approve()


async def _consistent(ctx: ClaimContext[Settings], claim: Claim) -> str:
    """
    Return a claim's price when its proof, its block and its data fit each other.

    Raises:
        NoPrice, ProofRejected: they do not.
    """
    settings = ctx.settings
    found = await _claimed(ctx, claim.proof_of_task)
    if isinstance(found, str):
        if settings.text is None or claim.data != settings.text.encode():
            raise NoPrice("a proof that names no block goes with the text of the settings as its data")
        return found
    price, block_number, block_hash, moment = found
    again = await ctx.retrace(block_number)
    if again is None or f"0x{bytes(again.trigger.block_hash).hex()}" != block_hash:
        raise NoPrice(f"the rule has no task at block {block_number} with the hash {block_hash}")
    if moment not in {None, again.trigger.block_timestamp}:
        raise NoPrice(f"time {moment} is not that of block {block_number}")
    if claim.data != _data(price, block_number, settings):
        raise NoPrice("the data is not what the proof says")
    _check_age(again.trigger.block_timestamp, settings)
    return price


async def _claimed(ctx: ClaimContext[Settings], proof: str) -> str | tuple[str, int, str, int | None]:
    """
    Read the price of a claim, with its block's number, hash and time where the proof names them.

    Raises:
        NoPrice: it is no proof of ours, nor ``{"symbol", "price"}`` as the Price Oracle example writes it.
    """
    settings = ctx.settings
    if settings.proof == "inline":
        named = _INLINE.fullmatch(proof)
        if named is None or named[1] != _text(_number(named[1]), settings) or str(int(named[2])) != named[2]:
            raise NoPrice("the proof is not PRICE+BLOCK+0xHASH")
        return named[1], int(named[2]), named[3], None
    found = await ctx.proofs.get(proof)
    if not isinstance(found, Mapping) or found.get("symbol") != settings.symbol:
        raise NoPrice(f"the proof is not of {settings.symbol}")
    if found.keys() == {"symbol", "price"}:
        return str(_number(found["price"]))
    try:
        read = Proof.model_validate(found)
    except ValidationError as error:
        where = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
        raise NoPrice(f"the proof's {where} is not as it should be") from None
    prices = {each.name: _number(each.price) for each in read.sources}
    if len(prices) != len(read.sources) or any(_plain(prices[each.name]) != each.price for each in read.sources):
        raise NoPrice("the proof's sources are not as they should be")
    said, price = settle(prices, settings)
    if price != read.price or len(said) != len(prices):
        raise NoPrice("the proof's price is not that of its sources")
    return price, read.blockNumber, read.blockHash, read.time


def settle(prices: Mapping[str, Decimal], settings: Settings) -> tuple[dict[str, str], str]:
    """
    Take the median of what the sources say, without outliers.

    Returns:
        What was used by source, and the median with the decimals of the settings.

    Raises:
        NoPrice: too few sources say nearly the same.
    """
    with localcontext() as exact:
        exact.prec = 100
        middle = median(prices.values()) if prices else Decimal(0)
        used = {name: price for name, price in sorted(prices.items()) if near(price, middle, settings.outlier)}
        if len(used) < settings.min_sources:
            raise NoPrice(
                f"{len(used)} of {len(settings.sources)} sources agree on a price of {settings.symbol}; "
                f"min_sources is {settings.min_sources}"
            )
        price = _text(median(used.values()), settings)
    if Decimal(price) <= 0:
        raise NoPrice(f"the price of {settings.symbol} has more than {settings.decimals} decimals")
    return {name: _plain(price) for name, price in used.items()}, price


def near(price: Decimal, middle: Decimal, share: Decimal) -> bool:
    """Tell whether a price is no further from another than this share of it; the bound itself is near."""
    with localcontext() as exact:
        exact.prec = 100
        return abs(price - middle) <= share * middle


async def _read_all(settings: Settings, *, shared_s: float = 0.0) -> dict[str, Decimal]:
    """Ask all sources at once; those that give no good price are left out."""
    asked = [_read(source, settings, shared_s) for source in settings.sources]
    found = await asyncio.gather(*asked, return_exceptions=True)
    prices: dict[str, Decimal] = {}
    for source, price in zip(settings.sources, found, strict=True):
        if isinstance(price, Decimal):
            prices[source.name] = price
        elif not isinstance(price, FetchFailed | NoPrice):
            raise price
    return prices


async def _read(source: Source, settings: Settings, shared_s: float) -> Decimal:
    url = source.url.replace("{base}", settings.base).replace("{quote}", settings.quote)
    # The operator wrote the URL: a source in his own network is his to name.
    reply = await fetch(url, allow_private=True, timeout_s=settings.timeout_s, shared_s=shared_s)
    if reply.status != 200:
        raise NoPrice(f"{source.name} answered {reply.status}")
    answer = reply.json()
    # A time to come tells no age: it would make an old price pass as fresh until then.
    if source.time and abs(time.time() - _moment(_at(answer, source.time))) > settings.stale_s:
        raise NoPrice(f"{source.name} has an old price, or a time that cannot be")
    return _number(_at(answer, source.price))


def _at(answer: Any, path: str) -> Any:
    """Follow a path into an answer."""
    for step in path.split("."):
        members = list(answer.values()) if isinstance(answer, dict) else answer if isinstance(answer, list) else []
        if step == "*" and len(members) == 1:
            answer = members[0]
        elif isinstance(answer, dict) and step in answer:
            answer = answer[step]
        elif isinstance(answer, list) and step.isdecimal() and int(step) < len(answer):
            answer = answer[int(step)]
        else:
            raise NoPrice(f"the answer has no {path}")
    return answer


def _number(value: Any) -> Decimal:
    """
    Read a price, from text or a JSON number.

    Raises:
        NoPrice: it is none: not a number, zero, negative or beyond all measure.
    """
    text = value if isinstance(value, str) else ""
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        number = Decimal(value)
        text = _plain(number) if number.is_finite() and abs(number.adjusted()) <= 30 else ""
    if _NUMBER.fullmatch(text) is None or not 0 < Decimal(text) < LARGEST:
        raise NoPrice("a price is a positive number")
    return Decimal(text)


def _moment(value: Any) -> int:
    """Read a time: Unix seconds or milliseconds, as a number or text, or ISO 8601 with its zone; in Unix seconds."""
    try:
        if isinstance(value, str) and not _NUMBER.fullmatch(value):
            found = datetime.fromisoformat(value)
            return int(found.astimezone(UTC).timestamp()) if found.tzinfo else _no_moment()
        seconds = int(_number(value))
    except (ValueError, OverflowError, DecimalException):
        return _no_moment()
    return seconds // 1000 if seconds > 10**11 else seconds


def _no_moment() -> int:
    raise NoPrice("the time of the price cannot be read")


def _check_age(timestamp: int, settings: Settings) -> None:
    age_s = int(time.time()) - timestamp
    if age_s > settings.block_age_s:
        raise NoPrice(
            f"the block is {age_s} s old, and a price of now is not its price; block_age_s is {settings.block_age_s}"
        )


def _text(price: Decimal, settings: Settings) -> str:
    with localcontext() as exact:
        exact.prec = 100
        return f"{price.quantize(Decimal(1).scaleb(-settings.decimals), rounding=ROUND_HALF_EVEN):f}"


def _plain(price: Decimal) -> str:
    return f"{price:f}"


def _data(price: str, block_number: int, settings: Settings) -> bytes:
    if settings.text is not None:
        return settings.text.encode()
    units = int(price.replace(".", ""))  # it has exactly as many decimals as the settings say
    return encode(["string", "uint256", "uint8", "uint64"], [settings.symbol, units, settings.decimals, block_number])
