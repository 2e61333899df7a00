"""The local aggregator takes what the attestation contract takes, and refuses the rest as a node would."""

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from listener.devnet.aggregator import Aggregator
from listener.devnet.attestation import ORDER, RpcError, check_signature, parse

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors_ecdsa.json").read_text())
GOOD = VECTORS[0]


def parameters(vector: dict[str, Any]) -> list[Any]:
    return [vector[name] for name in ("proofOfTask", "data", "taskDefinitionId", "performerAddress", "signature")]


def request(params: object, identity: int = 7, method: str = "sendTask") -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "method": method, "params": params}


async def post(aggregator: Aggregator, body: object) -> Any:
    raw = body if isinstance(body, str) else json.dumps(body)
    async with (
        aiohttp.ClientSession() as session,
        session.post(aggregator.url, data=raw, headers={"content-type": "application/json"}) as response,
    ):
        return await response.json(content_type=None)


async def refusal(aggregator: Aggregator, params: object) -> tuple[int, str]:
    reply = await post(aggregator, request(params))
    assert reply["id"] == 7
    assert "result" not in reply
    return reply["error"]["code"], reply["error"]["message"]


def with_signature(signature: str) -> list[Any]:
    return [*parameters(GOOD)[:4], signature]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
async def test_a_vector_is_accepted_exactly_when_the_contract_accepts_it(
    aggregator: Aggregator, vector: dict[str, Any]
) -> None:
    reply = await post(aggregator, request(parameters(vector)))
    if vector["acceptedOnChain"]:
        assert reply == {"jsonrpc": "2.0", "id": 7, "result": True}
        (call,) = aggregator.accepted
        assert f"0x{call.digest.hex()}" == vector["digest"]
        assert (call.proof_of_task, call.performer) == (vector["proofOfTask"], vector["performerAddress"])
    else:
        assert reply["error"]["code"] == -32000
        assert reply["error"]["message"].startswith("InvalidPerformerSignature")
        assert aggregator.accepted == []
        assert len(aggregator.refused) == 1


@pytest.mark.parametrize("extra", [[], ["ecdsa"], ["ecdsa", 84532]], ids=["five", "six", "seven"])
async def test_five_six_and_seven_parameters_are_taken(aggregator: Aggregator, extra: list[Any]) -> None:
    assert (await post(aggregator, request(parameters(GOOD) + extra)))["result"] is True


async def test_a_repeat_of_the_same_digest_is_refused_by_name(aggregator: Aggregator) -> None:
    await post(aggregator, request(parameters(GOOD)))
    code, message = await refusal(aggregator, parameters(GOOD))
    assert code == -32000
    assert message.startswith("MessageAlreadySigned")
    assert len(aggregator.accepted) == 1


async def test_another_signature_over_an_accepted_digest_is_a_repeat_too(aggregator: Aggregator) -> None:
    await post(aggregator, request(parameters(GOOD)))
    _, message = await refusal(aggregator, with_signature("0x" + "11" * 65))
    assert message.startswith("MessageAlreadySigned")


@pytest.mark.parametrize(
    ("signature", "name"),
    [
        (GOOD["signature"][:-2], "ECDSAInvalidSignatureLength"),
        (GOOD["signature"][:-2] + "01", "ECDSAInvalidSignature:"),
        (GOOD["r"] + f"{ORDER - int(GOOD['s'], 16):064x}" + "1b", "ECDSAInvalidSignatureS"),
        (GOOD["signature"][:-2] + "1b", "InvalidPerformerSignature"),
        ("0x" + "00" * 64 + "1b", "ECDSAInvalidSignature:"),
        ("0x" + "ff" * 32 + "11" * 32 + "1b", "ECDSAInvalidSignature:"),
    ],
    ids=["64 bytes", "v 0 or 1", "high s", "the other v", "zeros", "r beyond the order"],
)
async def test_a_signature_that_the_contract_reverts_is_refused_with_its_error(
    aggregator: Aggregator, signature: str, name: str
) -> None:
    code, message = await refusal(aggregator, with_signature(signature))
    assert code == -32000
    assert message.startswith(name)


@pytest.mark.parametrize(
    ("position", "value", "named"),
    [
        (0, 5, "proofOfTask"),
        (0, None, "proofOfTask"),
        (1, "hello", "data"),
        (1, "0x1", "data"),
        (1, "", "data"),
        (1, None, "data"),
        (2, -1, "taskDefinitionId"),
        (2, 65536, "taskDefinitionId"),
        (2, "0", "taskDefinitionId"),
        (2, 1.5, "taskDefinitionId"),
        (2, True, "taskDefinitionId"),
        (3, "0x1234", "performerAddress"),
        (3, GOOD["performerAddress"].swapcase().replace("X", "x"), "performerAddress"),
        (3, None, "performerAddress"),
        (4, GOOD["signature"][2:], "signature"),
        (4, '{"x":"0x01","y":"0x02"}', "signature"),
        (5, "bls", "signatureType"),
        (5, None, "signatureType"),
        (6, "84532", "targetChainId"),
    ],
)
async def test_a_parameter_of_the_wrong_type_is_named(
    aggregator: Aggregator, position: int, value: object, named: str
) -> None:
    params = [*parameters(GOOD), "ecdsa", 84532]
    params[position] = value
    code, message = await refusal(aggregator, params)
    assert code == -32602
    assert message.startswith(named)


@pytest.mark.parametrize("params", [[], parameters(GOOD)[:4], [*parameters(GOOD), "ecdsa", 1, 2], {"a": 1}, None])
async def test_a_wrong_number_of_parameters_is_refused(aggregator: Aggregator, params: object) -> None:
    assert (await refusal(aggregator, params))[0] == -32602


async def test_a_lower_case_performer_is_the_same_performer(aggregator: Aggregator) -> None:
    params = parameters(GOOD)
    params[3] = params[3].lower()
    assert (await post(aggregator, request(params)))["result"] is True
    assert aggregator.accepted[0].performer == GOOD["performerAddress"]


async def test_the_batch_of_an_ethers_client_is_answered_in_order(aggregator: Aggregator) -> None:
    replies = await post(aggregator, [request([], 1, "eth_chainId"), request(parameters(GOOD), 2)])
    assert [(reply["id"], reply["result"]) for reply in replies] == [(1, "0x7a69"), (2, True)]


async def test_a_batch_with_a_bad_call_still_takes_the_good_one(aggregator: Aggregator) -> None:
    bad, good = await post(aggregator, [request([], 1), request(parameters(GOOD), 2)])
    assert bad["error"]["code"] == -32602
    assert good["result"] is True


async def test_a_notification_counts_but_gets_no_reply(aggregator: Aggregator) -> None:
    body = request(parameters(GOOD))
    del body["id"]
    async with aiohttp.ClientSession() as session, session.post(aggregator.url, json=body) as response:
        assert response.status == 204
        assert await response.read() == b""
    assert len(aggregator.accepted) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{", -32700),
        ("[]", -32600),
        ("7", -32600),
        ('{"id": 1}', -32600),
        ('{"jsonrpc": "2.0", "id": 1, "method": "eth_call"}', -32601),
    ],
)
async def test_what_is_no_request_gets_the_code_of_json_rpc(aggregator: Aggregator, body: str, code: int) -> None:
    assert (await post(aggregator, body))["error"]["code"] == code


async def test_a_get_is_not_a_request(aggregator: Aggregator) -> None:
    async with aiohttp.ClientSession() as session, session.get(aggregator.url) as response:
        assert response.status == 405


async def test_a_hook_before_answers_instead_and_nothing_is_accepted(aggregator: Aggregator) -> None:
    async def busy(_request: web.BaseRequest) -> web.Response:
        return web.Response(status=503, text="null")

    aggregator.before = busy
    assert await post(aggregator, request(parameters(GOOD))) is None
    assert aggregator.accepted == []


async def test_a_hook_after_can_lose_the_answer_of_an_accepted_call(aggregator: Aggregator) -> None:
    async def cut(taken: web.BaseRequest) -> None:
        assert taken.transport is not None
        taken.transport.abort()

    aggregator.after = cut
    with pytest.raises(aiohttp.ClientError):
        await post(aggregator, request(parameters(GOOD)))
    assert len(aggregator.accepted) == 1


async def test_a_restarted_aggregator_keeps_its_port_and_what_it_accepted(aggregator: Aggregator) -> None:
    await post(aggregator, request(parameters(GOOD)))
    url = aggregator.url
    await aggregator.close()
    await aggregator.start()
    assert aggregator.url == url
    assert (await refusal(aggregator, parameters(GOOD)))[1].startswith("MessageAlreadySigned")


def test_the_check_of_a_signature_is_usable_without_a_server() -> None:
    call = parse(parameters(GOOD), received_at=0)
    check_signature(call)
    with pytest.raises(RpcError, match="InvalidPerformerSignature"):
        check_signature(parse(["another proof", *parameters(GOOD)[1:]], received_at=0))
