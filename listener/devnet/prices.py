"""
A local source of prices, in the shapes of the four that the price oracle asks by default.

The price moves a little with each answer. What a source is to say in place of the truth is set by ``says``.
"""

import random
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from aiohttp import web

from listener.devnet.service import Service

STEP = 5  # ten-thousandths that the price moves at the most
PATHS = {  # by source: the path as the oracle's settings have it, where the price stands, and where its time does
    "binance": ("/binance/api/v3/ticker/24hr?symbol={base}{quote}", "lastPrice", "closeTime"),
    "binance-us": ("/binance-us/api/v3/ticker/24hr?symbol={base}{quote}", "lastPrice", "closeTime"),
    "coinbase": ("/coinbase/products/{base}-{quote}/ticker", "price", "time"),
    "kraken": ("/kraken/0/public/Ticker?pair={base}{quote}", "result.*.c.0", ""),
}


class Prices(Service):
    """
    Answers on loopback; use it as an async context manager.

    Args:
        price: where it begins.
        seed: of its moves: the same seed gives the same ones.
    """

    def __init__(self, *, port: int = 0, price: str = "1800", seed: int = 0) -> None:
        super().__init__(port)
        self.price = Decimal(price)
        self.moves = True
        self.asked = 0
        self.age_s = 0  # of the prices, as their sources tell it
        self.says: dict[str, Any] = {}  # by source: a price in place of the true one, or a response
        self._random = random.Random(seed)  # noqa: S311 - a price for play

    def sources(self) -> list[dict[str, str]]:
        """Return ``sources`` for the oracle's settings."""
        return [
            {"name": name, "url": self.url + path, "price": price, "time": moment}
            for name, (path, price, moment) in PATHS.items()
        ]

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        name = request.path.split("/")[1]
        if name not in PATHS:
            return web.Response(status=404)
        self.asked += 1
        if self.moves:
            self.price = (self.price * (10_000 + self._random.randint(-STEP, STEP)) / 10_000).quantize(Decimal("0.01"))
        says = self.says.get(name, self.price)
        if isinstance(says, web.Response):
            return web.Response(status=says.status, body=says.body, headers=says.headers)
        return web.json_response(self._shape(name, f"{says:f}" if isinstance(says, Decimal) else says))

    def _shape(self, name: str, price: Any) -> dict[str, Any]:
        moment = int(time.time()) - self.age_s
        if name == "coinbase":
            said = datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")
            return {"trade_id": 1, "price": price, "size": "0.1", "time": said}
        if name == "kraken":
            return {"error": [], "result": {"XETHZUSD": {"a": [price, "1", "1.000"], "c": [price, "0.1"]}}}
        return {"symbol": "ETHUSDT", "lastPrice": price, "closeTime": moment * 1000}
