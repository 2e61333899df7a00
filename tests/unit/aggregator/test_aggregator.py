"""Every way in which an aggregator may answer is one of four: taken, known already, never, or later."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from raw_server import RawServer, Reply, Request, answer, rpc_error
from world import SIGNER

from listener.aggregator import Aggregator
from listener.aggregator.connections import Connections
from listener.errors import AggregatorDeclined, AggregatorRefused, AggregatorUnavailable, TransientError
from listener.model import TaskResult

PAYLOAD = SIGNER.sign(TaskResult("12+0xab+3", b"\x00\xff"), 7)
BIG = 2**20 + 100


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async with RawServer() as running:
        yield running


async def send(server: RawServer, *, timeout_s: float = 5, target_chain_id: int | None = None) -> bool:
    aggregator = Aggregator(server.url, "http://shown", timeout_s=timeout_s, target_chain_id=target_chain_id)
    try:
        return await aggregator.send(PAYLOAD)
    finally:
        await aggregator.close()


# What is sent


async def test_the_five_parameters_go_out_in_the_order_of_the_protocol(server: RawServer) -> None:
    assert await send(server) is False
    (request,) = server.requests
    assert request.json["jsonrpc"] == "2.0"
    assert request.json["method"] == "sendTask"
    assert request.json["params"] == [
        "12+0xab+3",
        "0x00ff",
        7,
        SIGNER.address,
        "0x" + PAYLOAD.signature.hex(),
    ]
    assert request.head.startswith("POST / HTTP/1.1\r\n")
    assert "content-type: application/json" in request.head.lower()


async def test_a_target_chain_brings_the_sixth_and_seventh_parameter(server: RawServer) -> None:
    await send(server, target_chain_id=84532)
    assert server.requests[0].json["params"][5:] == ["ecdsa", 84532]  # type: ignore[index]


async def test_every_vector_goes_out_as_it_is_written(server: RawServer) -> None:
    vectors = json.loads((Path(__file__).parents[2] / "vectors_ecdsa.json").read_text())
    for vector in vectors:
        if vector["signerAddress"] != SIGNER.address or vector["performerAddress"] != SIGNER.address:
            continue
        result = TaskResult(vector["proofOfTask"], bytes.fromhex(vector["data"][2:]))
        aggregator = Aggregator(server.url, "shown", timeout_s=5)
        await aggregator.send(SIGNER.sign(result, vector["taskDefinitionId"]))
        await aggregator.close()
        fields = ("proofOfTask", "data", "taskDefinitionId", "performerAddress", "signature")
        assert server.requests[-1].json["params"] == [vector[name] for name in fields]
    assert server.requests


async def test_each_request_has_an_id_of_its_own(server: RawServer) -> None:
    aggregator = Aggregator(server.url, "shown", timeout_s=5)
    for _ in range(3):
        await aggregator.send(PAYLOAD)
    await aggregator.close()
    assert len({request.json["id"] for request in server.requests}) == 3


async def test_the_connection_is_kept_between_sends(server: RawServer) -> None:
    aggregator = Aggregator(server.url, "shown", timeout_s=5)
    for _ in range(5):
        await aggregator.send(PAYLOAD)
    await aggregator.close()
    assert [request.connection for request in server.requests] == [1] * 5


# What the answers mean


@pytest.mark.parametrize("result", ["true", "null", '"0x1234"', "{}", "0"])
async def test_any_result_is_taken(server: RawServer, result: str) -> None:
    """No source says what a result looks like."""
    server.reply = answer(f'{{"jsonrpc":"2.0","id":1,"result":{result}}}')
    assert await send(server) is False


async def test_an_error_of_null_beside_a_result_is_no_error(server: RawServer) -> None:
    server.reply = answer('{"jsonrpc":"2.0","id":1,"result":true,"error":null}')
    assert await send(server) is False


@pytest.mark.parametrize(
    "reply",
    [
        rpc_error(-32000, "MessageAlreadySigned: 0x1234 was accepted before"),
        rpc_error(-32000, "execution reverted: messagealreadysigned()"),
        rpc_error(-32000, "execution reverted", "0x8a206046"),
        rpc_error(-32000, "execution reverted", {"data": "0x8A206046" + "00" * 32}),
        rpc_error(3, "execution reverted", {"originalError": {"data": "0x8a206046"}}),
        rpc_error(-32000, "already known"),
        rpc_error(-32000, "Task Already Submitted"),
        rpc_error(-32000, "this task was already signed"),
        rpc_error(-32000, "ALREADY EXISTS"),
        rpc_error(-32000, "AlreadyKnown"),
        rpc_error(-32602, "MessageAlreadySigned"),
        rpc_error(-32000, "MessageAlreadySigned", status=500),
        rpc_error(-32000, "the task exists already"),
        answer('{"jsonrpc":"2.0","id":1,"error":"MessageAlreadySigned"}'),
    ],
)
async def test_a_repeat_that_the_aggregator_knows_is_a_success(server: RawServer, reply: bytes) -> None:
    server.reply = reply
    assert await send(server) is True


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (rpc_error(-32602, "Invalid params"), "-32602"),
        (rpc_error(-32602, "proofOfTask is not text", status=400), "proofOfTask is not text"),
        (answer("<html>413 Request Entity Too Large</html>", 413), "413"),
        (answer("", 413), "413"),
        (rpc_error(-32000, "execution reverted: InvalidPerformerSignature()"), "InvalidPerformerSignature"),
        (rpc_error(-32000, "execution reverted", "0x57c3c396"), "0x57c3c396"),
        (rpc_error(-32000, "TaskDefinitionNotFound(7)"), "TaskDefinitionNotFound"),
        (rpc_error(-32000, "execution reverted", "0x42643C32" + "07" * 32), "reverted"),
        (rpc_error(-32000, "invalidTaskDefinition"), "invalidTaskDefinition"),
        (rpc_error(-32000, "execution reverted", {"data": "0x5a31d91b"}), "reverted"),
    ],
)
async def test_what_the_same_bytes_can_never_pass_is_refused_for_good(
    server: RawServer, reply: bytes, said: str
) -> None:
    server.reply = reply
    with pytest.raises(AggregatorRefused, match=said):
        await send(server)


@pytest.mark.parametrize(
    "reply",
    [
        rpc_error(-32603, "Internal error"),
        rpc_error(-32005, "rate limit exceeded"),
        rpc_error(-32000, "no attesters are connected"),
        rpc_error(-32601, "the method sendTask does not exist"),
        rpc_error(-32700, "Parse error"),
        rpc_error(12345, "a code nobody knows"),
        rpc_error(-32000, "already busy"),
        rpc_error(-32000, "execution reverted", "0x12345678"),
        rpc_error(-32603, "Internal error", status=500),
        answer('{"jsonrpc":"2.0","id":1,"error":{}}'),
        answer('{"jsonrpc":"2.0","id":1,"error":{"code":"-32602 as text","message":null}}'),
        answer('{"jsonrpc":"2.0","id":1,"error":"something"}'),
        answer('{"jsonrpc":"2.0","id":1,"error":["a","list"]}'),
        answer('{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"x","data":"' + "y" * 100_000 + '"}}'),
        answer('{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"Überlast 🔥"}}'),
    ],
)
async def test_every_other_error_may_pass(server: RawServer, reply: bytes) -> None:
    server.reply = reply
    with pytest.raises(AggregatorDeclined) as raised:
        await send(server)
    assert len(str(raised.value)) < 1000


async def test_an_error_that_is_nested_without_end_may_pass_too(server: RawServer) -> None:
    server.reply = answer('{"jsonrpc":"2.0","id":1,"error":' + "[" * 300 + "]" * 300 + "}")
    with pytest.raises(TransientError):
        await send(server)


@pytest.mark.parametrize("text", ["performer is already banned: unknown operator", "already seen, but unsigned"])
async def test_a_word_that_only_holds_a_known_one_is_not_a_success(server: RawServer, text: str) -> None:
    server.reply = rpc_error(-32000, text)
    with pytest.raises(AggregatorDeclined):
        await send(server)


@pytest.mark.parametrize(
    "reply",
    [
        answer("<html>welcome</html>", 200, "content-type: text/html"),
        answer("", 200),
        answer("", 500),
        answer("Bad Gateway", 502),
        answer("slow down", 429, "retry-after: 1"),
        answer('{"message":"slow down"}', 429),
        answer('{"jsonrpc":"2.0","id":1,"result":true}', 500),
        answer('{"jsonrpc":"2.0","id":1,"result":true}', 429),
        answer("[]", 200),
        answer("null", 200),
        answer("7", 200),
        answer('{"jsonrpc":"2.0","id":1}', 200),
        answer(b"\xff\xfe\x00", 200),
        answer("", 204),
        answer("", 302, "location: http://127.0.0.1:1/"),
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n",
        b"this is not HTTP at all\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x50",
        None,
    ],
)
async def test_what_is_no_answer_of_an_aggregator_means_that_nothing_gets_through(
    server: RawServer, reply: Reply
) -> None:
    server.reply = reply
    with pytest.raises(AggregatorUnavailable):
        await send(server, timeout_s=0.3)


async def test_an_aggregator_that_never_answers_is_given_up_after_the_timeout(server: RawServer) -> None:
    async def never(_request: Request) -> Reply:
        await asyncio.sleep(60)
        return None

    server.hook = never
    begun = asyncio.get_running_loop().time()
    with pytest.raises(AggregatorUnavailable, match="no answer: it took too long"):
        await send(server, timeout_s=0.2)
    assert asyncio.get_running_loop().time() - begun < 2


async def test_an_aggregator_that_is_not_there_is_unavailable(server: RawServer) -> None:
    await server.close()
    with pytest.raises(AggregatorUnavailable, match=r"no answer: connection refused; see whether it runs, and agg"):
        await send(server)


async def test_a_name_that_is_not_known_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_args: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(Connections, "reach", unknown)
    aggregator = Aggregator("http://nobody/", "http://shown", timeout_s=5)
    with pytest.raises(AggregatorUnavailable, match=r"its host name is not known; correct aggregator\.url"):
        await aggregator.reach()
    await aggregator.close()


async def test_an_answer_without_end_is_cut_off(server: RawServer) -> None:
    server.reply = answer(b" " * BIG)
    with pytest.raises(AggregatorUnavailable):
        await send(server)


@pytest.mark.parametrize(
    "reply",
    [
        None,
        answer("<html></html>"),
        answer("", 500),
        rpc_error(-1, "no"),
        rpc_error(-32602, "no"),
        b"garbage\r\n\r\n",
    ],
)
async def test_no_error_tells_the_credentials_of_the_url(server: RawServer, reply: Reply) -> None:
    server.reply = reply
    url = f"http://user:hunter22@127.0.0.1:{server.port}/v1/secretpath?key=topsecret"
    aggregator = Aggregator(url, "http://127.0.0.1/***", timeout_s=0.3)
    with pytest.raises((TransientError, AggregatorRefused)) as raised:
        await aggregator.send(PAYLOAD)
    await aggregator.close()
    told = f"{raised.value!r} {raised.value} {raised.value.__cause__!r} {aggregator!r}"
    for secret in ("hunter22", "secretpath", "topsecret"):
        assert secret not in told


async def test_the_credentials_of_the_url_go_to_the_aggregator(server: RawServer) -> None:
    aggregator = Aggregator(f"http://us%40er:p%3Ass@127.0.0.1:{server.port}/v1/x?key=y", "shown", timeout_s=5)
    await aggregator.send(PAYLOAD)
    await aggregator.close()
    head = server.requests[0].head
    assert head.startswith("POST /v1/x?key=y HTTP/1.1\r\n")
    assert "Basic dXNAZXI6cDpzcw==" in head
    assert f"host: 127.0.0.1:{server.port}" in head.lower()
