"""The fake aggregator takes what the contract takes, and goes wrong in just the way that it was told."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest

from listener.devnet.accounts import PERFORMER
from listener.model import TaskResult
from listener.signing import Signer
from listener.testing import FakeAggregator, Fault

SIGNER = Signer(PERFORMER.private_key)


@pytest.fixture
async def fake() -> AsyncIterator[FakeAggregator]:
    async with FakeAggregator() as server:
        yield server


def params(proof: str, data: bytes = b"") -> list[Any]:
    payload = SIGNER.sign(TaskResult(proof, data), 1)
    return [proof, f"0x{data.hex()}", 1, payload.performer, f"0x{payload.signature.hex()}"]


async def post(fake: FakeAggregator, given: list[Any], timeout_s: float = 5) -> tuple[int, bytes]:
    body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "sendTask", "params": given})
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_s)) as session,
        session.post(fake.url, data=body, headers={"content-type": "application/json"}) as response,
    ):
        return response.status, await response.read()


def proofs(fake: FakeAggregator) -> list[str]:
    return [call.proof_of_task for call in fake.accepted]


async def test_without_a_fault_it_takes_a_task_once_and_refuses_it_by_name_then(fake: FakeAggregator) -> None:
    assert orjson.loads((await post(fake, params("a")))[1])["result"] is True
    error = orjson.loads((await post(fake, params("a")))[1])["error"]
    assert error["code"] == -32000
    assert error["message"].startswith("MessageAlreadySigned")
    assert proofs(fake) == ["a"]


async def test_a_wrong_signature_is_refused(fake: FakeAggregator) -> None:
    forged = [*params("a")[:4], params("b")[4]]
    assert "InvalidPerformerSignature" in orjson.loads((await post(fake, forged))[1])["error"]["message"]
    assert proofs(fake) == []


@pytest.mark.parametrize("fault", [Fault.lost("close"), Fault.lost("reset")], ids=["closed", "reset"])
async def test_a_lost_answer_is_that_of_a_task_that_was_taken(fake: FakeAggregator, fault: Fault) -> None:
    fake.faults.append(fault)
    with pytest.raises(aiohttp.ClientError):
        await post(fake, params("a"))
    assert proofs(fake) == ["a"]
    assert "MessageAlreadySigned" in (await post(fake, params("a")))[1].decode()


@pytest.mark.parametrize("fault", [Fault.cut("close"), Fault.cut("reset")], ids=["closed", "reset"])
async def test_a_cut_line_takes_nothing(fake: FakeAggregator, fault: Fault) -> None:
    fake.faults.append(fault)
    with pytest.raises(aiohttp.ClientError):
        await post(fake, params("a"))
    assert proofs(fake) == []
    await post(fake, params("a"))
    assert proofs(fake) == ["a"]


async def test_one_that_hangs_neither_answers_nor_takes_and_can_still_be_closed(fake: FakeAggregator) -> None:
    fake.always = Fault.hang()
    with pytest.raises(TimeoutError):
        await post(fake, params("a"), timeout_s=0.1)
    waiting = asyncio.ensure_future(post(fake, params("b")))
    while len(fake.sent) < 2:  # noqa: ASYNC110 - until it has arrived
        await asyncio.sleep(0.01)
    await fake.close()
    with pytest.raises(aiohttp.ClientError):
        await waiting
    assert proofs(fake) == []


async def test_a_slow_answer_is_the_true_one(fake: FakeAggregator) -> None:
    fake.faults.append(Fault.slow(0.01))
    assert orjson.loads((await post(fake, params("a")))[1])["result"] is True


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        (Fault.answered(500), 500, ""),
        (Fault.answered(413), 413, ""),
        (Fault.answered(200, b"\x00\xff"), 200, "\x00"),
        (Fault.html(502), 502, "<html>"),
        (Fault.error(-32000, "no attesters", data="0x1"), 200, "no attesters"),
        (Fault.behind(), 200, "header not found"),
        (Fault.known(), 200, "MessageAlreadySigned"),
    ],
)
async def test_a_given_answer_takes_nothing(fake: FakeAggregator, fault: Fault, status: int, said: str) -> None:
    fake.always = fault
    found, body = await post(fake, params("a"))
    assert (found, said in body.decode(errors="ignore")) == (status, True)
    assert proofs(fake) == []


async def test_faults_are_used_up_in_their_order(fake: FakeAggregator) -> None:
    fake.faults += [Fault.answered(500), Fault.html()]
    assert [(await post(fake, params("a")))[0] for _ in range(3)] == [500, 200, 200]
    assert proofs(fake) == ["a"]


async def test_it_tells_which_proofs_came_with_other_bytes(fake: FakeAggregator) -> None:
    for data in (b"", b"", b"\x01"):
        await post(fake, params("a", data))
        await post(fake, params("b"))
    assert len(fake.sent) == 6
    assert {proof: len(payloads) for proof, payloads in fake.differing().items()} == {"a": 2}


async def test_one_that_was_down_listens_on_its_port_again_and_knows_what_it_took(fake: FakeAggregator) -> None:
    await post(fake, params("a"))
    await fake.close()
    with pytest.raises(aiohttp.ClientError):
        await post(fake, params("b"))
    await fake.start()
    assert "MessageAlreadySigned" in (await post(fake, params("a")))[1].decode()
