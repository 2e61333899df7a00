"""The local network's attesters are asked in the stack's form, and their votes weighed as its contract does."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from listener.devnet import gossip as module
from listener.devnet.attestation import Call, parse
from listener.devnet.attesters import COUNT
from listener.devnet.gossip import Gossip

VECTOR: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors_ecdsa.json").read_text())[0]
YES: tuple[int, Any] = (200, {"data": True, "error": False, "message": None})
NO: tuple[int, Any] = (200, {"data": False, "error": False, "message": "wrong"})
UNSURE: tuple[int, Any] = (503, {"data": False, "error": True, "message": "no source"})


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.02)
    monkeypatch.setattr(module, "VOTING_S", 0.5)


def call() -> Call:
    names = ("proofOfTask", "data", "taskDefinitionId", "performerAddress", "signature")
    return parse([VECTOR[name] for name in names], 0)


@contextlib.asynccontextmanager
async def services(*answers: Callable[[int], tuple[int, Any]]) -> AsyncIterator[tuple[Gossip, list[Any]]]:
    """Attesters, each of which gives the answer that its function has for the number of the question."""
    asked: list[Any] = []
    urls = []
    async with contextlib.AsyncExitStack() as stack:
        for answer in answers:
            counted = iter(range(1000))

            async def serve(
                request: web.BaseRequest, answer: Any = answer, counted: Any = counted
            ) -> web.StreamResponse:
                asked.append((request.method, request.path, json.loads(await request.read())))
                status, body = answer(next(counted))
                text = body if isinstance(body, str) else json.dumps(body)
                return web.Response(status=status, text=text, content_type="application/json")

            runner = web.ServerRunner(web.Server(serve, access_log=None))  # type: ignore[arg-type]
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        yield await stack.enter_async_context(Gossip(urls)), asked


async def outcome(*answers: tuple[int, Any]) -> tuple[str | None, int]:
    """What comes of a task, and how many votes were counted."""
    async with services(*[lambda _number, answer=answer: answer for answer in answers]) as (gossip, _):
        gossip.spread(call())
        async with asyncio.timeout(20):
            while gossip.is_open:  # noqa: ASYNC110 - nobody tells us
                await asyncio.sleep(0.01)
        digest = call().digest
        found = "approved" if digest in gossip.approved else "rejected" if digest in gossip.rejected else None
        return found, len(gossip.votes[digest])


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((YES, YES, YES), ("approved", 3)),
        ((YES, YES, UNSURE), (None, 2)),  # two thirds are not above two thirds
        ((YES, YES, YES, UNSURE), ("approved", 3)),
        ((NO, UNSURE, UNSURE), (None, 1)),  # one third is not above one third
        ((NO, NO, UNSURE), ("rejected", 2)),
        ((UNSURE, UNSURE, UNSURE), (None, 0)),
        (((200, {"data": {"result": True}, "error": False}),) * 3, (None, 0)),
        (((200, {"data": True, "error": True}),) * 3, (None, 0)),
        (((200, "[]"), (200, "?"), (500, {"data": True, "error": False})), (None, 0)),
    ],
    ids=range(9),
)
async def test_above_two_thirds_approve_and_above_one_third_reject(
    answers: tuple[tuple[int, Any], ...], expected: tuple[str | None, int]
) -> None:
    assert await outcome(*answers) == expected


@pytest.mark.parametrize("right", [YES, NO], ids=["right task", "wrong task"])
async def test_one_attester_of_the_demo_that_lies_does_not_change_the_outcome(right: tuple[int, Any]) -> None:
    lie = NO if right == YES else YES
    found, _ = await outcome(lie, *[right] * (COUNT - 1))
    assert found == ("approved" if right == YES else "rejected")


async def test_an_attester_is_asked_in_the_form_of_the_stack_until_it_votes() -> None:
    async with services(lambda number: UNSURE if number < 3 else YES) as (gossip, asked):
        gossip.spread(call())
        async with asyncio.timeout(20):
            while gossip.is_open:  # noqa: ASYNC110 - nobody tells us
                await asyncio.sleep(0.01)
        assert gossip.approved == {call().digest}
    method, path, body = asked[0]
    assert (method, path, len(asked)) == ("POST", "/task/validate", 4)
    assert body == {
        "proofOfTask": VECTOR["proofOfTask"],
        "data": VECTOR["data"],
        "taskDefinitionId": VECTOR["taskDefinitionId"],
        "performer": VECTOR["performerAddress"],
    }


async def test_an_attester_that_is_not_there_has_not_voted_and_keeps_nobody_from_ending() -> None:
    async with Gossip(["http://127.0.0.1:9"]) as gossip:
        gossip.spread(call())
        await asyncio.sleep(0.05)
        assert gossip.is_open
    assert not gossip.is_open
    assert not gossip.approved
