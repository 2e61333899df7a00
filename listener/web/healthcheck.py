"""
``POST /healthcheck``: JSON-RPC ``healthcheck [blockNumber]``, by which others see that this operator is there.

It signs for strangers, so it signs one form alone: the EIP-191 message of the keccak256 of a recent block's hash, which
our own endpoints named. That form is no task's digest, nor a transaction. A block is read and signed once a second at
the most, however many ask, and each client may ask a few times a second.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import hdrs, web

from listener.chains import Chain
from listener.errors import ChainUnavailable
from listener.web.envelope import TYPE, Refused
from listener.web.limits import Rates
from listener.web.route import Handler, Route

PATH = "/healthcheck"
RECENT = 256  # blocks below the newest that are answered for
FRESH_S = 1.0  # after which a number is read again: a reorg may have put another block there
PATIENCE_S = 2.0  # for a block that the asker has and we have not yet
AGAIN_S = 0.1
AHEAD = 2  # blocks above the newest one that are waited for
KEPT = RECENT + AHEAD + 1
REQUESTS_PER_S = 10  # of one client, and as many at once
LONGEST_ID = 256
MOST_IN_BATCH = 4  # each may wait for a block
NO_BLOCK = -32000  # JSON-RPC's code for what the server has not
BODY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"anyOf": [{"type": "string", "maxLength": 256}, {"type": "integer"}, {"type": "null"}]},
        "method": {"const": "healthcheck"},
        "params": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 1},
    },
    "required": ["method", "params"],
}


class _NoBlock(Exception):
    """Why a call is answered with an error."""


class Healthcheck:
    """
    Answers for one chain.

    Args:
        sign: signs a block's hash.
        address: whose signature that is.
    """

    def __init__(self, chain: Chain, sign: Callable[[bytes], bytes], address: str) -> None:
        self._chain = chain
        self._sign = sign
        self._address = address
        self._answers: dict[int, tuple[float, asyncio.Task[dict[str, str]]]] = {}
        self._rates = Rates(REQUESTS_PER_S)
        self.route = _route(self._handle)

    async def _handle(self, request: web.Request) -> web.Response:
        wait_s = self._rates.wait_s(request.remote or "", time.monotonic())
        if wait_s:
            raise Refused(429, "too many health checks; try again in a second", headers={"Retry-After": "1"})
        return await _answered(await request.read(), self._result)

    async def _result(self, number: int | None) -> Any:
        if number is None:
            return hex(self._chain.chain_id)
        try:
            return await self._answer(number)
        except ChainUnavailable:
            raise _NoBlock("that block is not known here, or not recent") from None

    async def _answer(self, number: int) -> dict[str, str]:
        """Share one reading and one signature among all who ask for a block."""
        head = self._chain.head
        if head is None or not max(head.number - RECENT, 0) <= number <= head.number + AHEAD:
            raise ChainUnavailable("it is not recent")
        now = time.monotonic()
        begun, task = self._answers.get(number, (float("-inf"), None))
        if task is None or (task.done() and now - begun >= FRESH_S):
            while len(self._answers) >= KEPT:
                self._answers.pop(next(iter(self._answers)))
            self._answers.pop(number, None)
            task = asyncio.create_task(self._read(number))
            self._answers[number] = now, task
        return await asyncio.shield(task)  # who goes away leaves the others their answer

    async def _read(self, number: int) -> dict[str, str]:
        ends_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                block = await self._chain.header(number)
            except ChainUnavailable:
                block = None
            if block is not None:
                return {
                    "blockHash": f"0x{block.hash.hex()}",
                    "signature": f"0x{self._sign(block.hash).hex()}",
                    "address": self._address,
                }
            if time.monotonic() >= ends_at:
                raise ChainUnavailable(f"there is no block {number} yet")
            await asyncio.sleep(AGAIN_S)


def no_healthcheck_route() -> Route:
    """Make the route of an attester alone: it says why nothing is signed here, and not that an operator is away."""

    async def no_result(_number: int | None) -> Any:
        raise _NoBlock(
            "this is an attester alone, which has no key to sign with; ask a daemon with --role performer or both"
        )

    async def handle(request: web.Request) -> web.Response:
        return await _answered(await request.read(), no_result)

    return _route(handle)


def _route(handler: Handler) -> Route:
    return Route(
        method=hdrs.METH_POST,
        path=PATH,
        handler=handler,
        for_attesters=True,
        summary="JSON-RPC healthcheck [blockNumber]: the block's hash, signed by the performer.",
        enveloped=False,
        statuses=(400,),
        body=lambda: BODY,
    )


async def _answered(body: bytes, result: Callable[[int | None], Awaitable[Any]]) -> web.Response:
    """
    Answer one call, or a batch as clients such as ethers send it, with ``eth_chainId`` beside the health check.

    Args:
        body: the request's.
        result: gives what is answered for a block's number, or for None the chain's id.

    Raises:
        Refused: a call is no health check.
    """
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None
    batch = asked if isinstance(asked, list) else [asked]
    if not 0 < len(batch) <= MOST_IN_BATCH:
        raise Refused(400, f"a batch holds 1 to {MOST_IN_BATCH} calls")
    replies = []
    for identity, number in [_call(each) for each in batch]:  # all are read before one is answered
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": identity}
        try:
            reply["result"] = await result(number)
        except _NoBlock as error:
            reply["error"] = {"code": NO_BLOCK, "message": str(error)}
        replies.append(reply)
    content = json.dumps(replies if isinstance(asked, list) else replies[0])
    return web.Response(body=content.encode(), content_type=TYPE)


def _call(asked: Any) -> tuple[str | int | None, int | None]:
    """
    Read a call: its id, and the block's number; None in the place of that where the chain's id is asked for.

    Raises:
        Refused: it is no health check.
    """
    if not isinstance(asked, dict) or asked.get("method") not in ("healthcheck", "eth_chainId"):
        raise Refused(400, "a JSON-RPC request with the method healthcheck is needed")
    identity, params = asked.get("id"), asked.get("params")
    if (
        not isinstance(identity, str | int | None)
        or isinstance(identity, bool)
        or (isinstance(identity, str) and len(identity) > LONGEST_ID)
    ):
        raise Refused(400, f"an id is a whole number, or a text of {LONGEST_ID} characters at the most")
    if asked["method"] == "eth_chainId":
        if params not in (None, []):
            raise Refused(400, "eth_chainId takes no params")
        return identity, None
    number = params[0] if isinstance(params, list) and len(params) == 1 else None
    if isinstance(number, float) and number.is_integer():
        number = int(number)  # 9.0 is 9 to JSON
    if type(number) is not int:
        raise Refused(400, "params are [blockNumber], a number")
    return identity, number
