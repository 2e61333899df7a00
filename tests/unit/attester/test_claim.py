"""A request is a claim, or one sentence says what is wrong with it."""

import json
import sys
from typing import Any

import pytest

from listener.attester.claim import BadClaim, read
from listener.model import Claim

PERFORMER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
GOOD = {"proofOfTask": "12+proof", "data": "0x00FF", "taskDefinitionId": 7, "performer": PERFORMER}
CLAIM = Claim("12+proof", b"\x00\xff", 7, PERFORMER)


def body(**changed: Any) -> bytes:
    return json.dumps({**GOOD, **changed}).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()


@pytest.mark.parametrize(
    "sent",
    [
        body(),
        body(performer=PERFORMER.lower()),
        body(performer=PERFORMER.upper()),
        body(performer=PERFORMER[:-1] + "6"),
        body(signature="0x", targetChainId=84532),
        body(taskDefinitionId=7.0),
        without("taskDefinitionId")[:-1] + b', "taskDefinitionID": 7}',
        b" \n" + body(),
    ],
    ids=[
        "checksummed",
        "lower case",
        "upper case",
        "as it is",
        "with more fields",
        "as a float",
        "as the documentation",
        "spaces",
    ],
)
def test_a_node_may_write_a_claim_in_several_ways(sent: bytes) -> None:
    assert read(sent) == CLAIM


def test_a_performer_in_any_case_is_the_same_performer() -> None:
    swapped = "0x" + PERFORMER[2:].swapcase()
    assert read(body(performer=swapped)) == CLAIM


def test_empty_data_and_any_text_in_the_proof_are_a_claim() -> None:
    assert read(body(data="0x", proofOfTask="é\n\U0001f600\0")).proof_of_task == "é\n\U0001f600\0"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"\xff{}", "the body is not JSON"),
        (body()[:-1] + b', "x": "\xff"}', "the body is not JSON"),
        (body()[:-1] + b', "x": "\\ud800"}', "the body is not JSON"),
        (body()[:-1] + b', "x": NaN}', "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"[]", "the body is not a JSON object"),
        (b"null", "the body is not a JSON object"),
        (b"7", "the body is not a JSON object"),
        (b"{}", "proofOfTask is missing; send proofOfTask, data, taskDefinitionId, performer"),
        (without("data"), "data is missing; "),
        (without("taskDefinitionId"), "taskDefinitionId is missing; "),
        (without("performer"), "performer is missing; "),
        (body()[:-1] + b', "data": "0x"}', '"data" is there twice'),
        (body()[:-1] + b', "taskDefinitionID": 7}', '"taskDefinitionID" is there twice'),
        (body(proofOfTask=None), "proofOfTask: a text is needed, not null"),
        (body(proofOfTask={"a": 1}), "proofOfTask: a text is needed, not an object"),
        (body(data="0x123"), 'data: 0x and an even number of hex digits are needed, not "0x123"'),
        (body(data="hello"), "data: 0x and an even number of hex digits are needed, not "),
        (body(data=""), "data: 0x and an even number of hex digits are needed, not "),
        (body(data=["0x"]), "data: 0x and an even number of hex digits are needed, not a list"),
        (body(data="0x" + "g" * 500), f'data: 0x and an even number of hex digits are needed, not "0x{"g" * 47}…'),
        (body(taskDefinitionId="7"), 'taskDefinitionId: an integer from 0 to 65535 is needed, not "7"'),
        (body(taskDefinitionId=7.5), "taskDefinitionId: an integer from 0 to 65535 is needed, not 7.5"),
        (body(taskDefinitionId=True), "taskDefinitionId: an integer from 0 to 65535 is needed, not true"),
        (body(taskDefinitionId=-1), "taskDefinitionId: an integer from 0 to 65535 is needed, not -1"),
        (body(taskDefinitionId=65536), "taskDefinitionId: an integer from 0 to 65535 is needed, not 65536"),
        (body(taskDefinitionId=10**30), "taskDefinitionId: an integer from 0 to 65535 is needed, not 1"),
        (body(performer="0x1234"), 'performer: an address is needed, 0x and 40 hex digits, not "0x1234"'),
        (body(performer=PERFORMER[2:]), "performer: an address is needed"),
        (body(performer=7), "performer: an address is needed, 0x and 40 hex digits, not 7"),
    ],
    ids=range(32),
)
def test_what_is_no_claim_is_refused_in_one_sentence(sent: bytes, said: str) -> None:
    with pytest.raises(BadClaim) as refused:
        read(sent)
    message = str(refused.value)
    assert message.startswith(said)
    assert len(message) < 200
    assert "\n" not in message


def test_nesting_that_the_interpreter_cannot_follow_is_refused_as_well() -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(500)
    try:
        with pytest.raises(BadClaim, match="too deep"):
            read(body()[:-1] + b', "x": ' + b"[" * 600 + b"]" * 600 + b"}")
    finally:
        sys.setrecursionlimit(limit)
