"""The health check, called as the daemon calls it, against operators' endpoints on loopback."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from eth_abi.abi import decode, encode
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from web3 import AsyncWeb3
from web3.providers.async_base import AsyncBaseProvider

from listener import Claim, ProofUnavailable, TaskContext, TaskResult, Verdict
from listener.devnet.accounts import ACCOUNTS
from listener.devnet.operators import DOWN, LYING, WELL, Operator
from listener.proofs.inline import Inline
from listener.testing import claim_context, context
from tasks import health_check
from tasks.health_check import Settings

CENTER, REGISTRY = "0x5FbDB2315678afecb367f032d93F642f64180aa3", "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
SOMEONE = ACCOUNTS[5].address
HASH = "0x" + bytes(range(1, 33)).hex()


@dataclass
class Contracts(AsyncBaseProvider):
    """A chain that knows one block, operators and their endpoints."""

    operators: list[str] = field(default_factory=list)
    endpoints: dict[str, bytes] = field(default_factory=dict)
    width: int = 4
    head: int = 105
    known: bool = True

    def __post_init__(self) -> None:
        super().__init__()

    async def make_request(self, method: Any, params: Any) -> Any:
        return {"jsonrpc": "2.0", "id": 1, "result": self.result(method, params)}

    def result(self, method: str, params: Any) -> Any:
        if method == "eth_blockNumber":
            return hex(self.head)
        if method == "eth_chainId":
            return hex(31337)
        if method == "eth_getBlockByHash":
            return {"number": hex(100), "hash": HASH} if self.known and params[0] == HASH else None
        assert method == "eth_call", method
        selector, argument = params[0]["data"][:10], params[0]["data"][10:]
        if selector == "0x9878eccb":
            rest = ",uint256" * (self.width - 2)
            words = [(each, number, *[7] * (self.width - 2)) for number, each in enumerate(self.operators, start=1)]
            return f"0x{encode([f'(address,uint256{rest})[]'], [words[::-1]]).hex()}"
        if selector == "0xb0817c44":
            return f"0x{encode(['address'], [REGISTRY]).hex()}"
        assert (selector, params[0]["to"]) == ("0x942e6bcf", REGISTRY)
        address = next(each for each in self.operators if int(each, 16) == int(argument, 16))
        endpoint = self.endpoints.get(address)
        place = [0, 0, b""] if endpoint is None else [1, 50, endpoint]
        return f"0x{encode(['uint256', 'uint256', 'bytes'], place).hex()}"


@dataclass
class Place:
    """Three operators and what the chain says of them."""

    contracts: Contracts
    operators: list[Operator]

    def context(self, epoch: int = 0, **changed: Any) -> TaskContext[Settings]:
        usual = {"attestation_center": CENTER, "allow_private": True, "pause_s": 0, "timeout_s": 2}
        settings = Settings(**{**usual, **changed})
        return context(settings, block_number=100, block_hash=HASH, epoch=epoch, w3=AsyncWeb3(self.contracts))

    async def judged(self, claim: Claim, ctx: TaskContext[Settings], proofs: Any = None) -> Verdict:
        judging = claim_context(claim, ctx.settings, found=[ctx], w3=AsyncWeb3(self.contracts), proofs=proofs)
        try:
            return await health_check.validate(judging, claim)
        except ProofUnavailable as error:
            return Verdict.unsure(str(error))


async def _hash_of(number: int) -> str | None:
    return HASH if number == 100 else None


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with AsyncExitStack() as opened:
        operators = [await opened.enter_async_context(Operator(each, _hash_of)) for each in ACCOUNTS[1:4]]
        addresses = [each.account.address for each in operators]
        endpoints = {each.account.address: each.url.encode() for each in operators}
        yield Place(Contracts(addresses, endpoints), operators)


def claim_of(result: TaskResult | None, **changed: Any) -> Claim:
    assert result is not None
    return replace(Claim(result.proof_of_task, result.data, 0, SOMEONE), **changed)


def said(claim: Claim) -> tuple[str, bool]:
    address, is_valid = decode(["address", "bool"], claim.data)
    return address, is_valid


@pytest.mark.parametrize("width", [3, 4])
async def test_each_epoch_asks_the_next_operator_from_the_first_to_the_last(place: Place, width: int) -> None:
    place.contracts.width = width
    for epoch, operator in enumerate([*place.operators, place.operators[0]]):
        ctx = place.context(epoch)
        claim = claim_of(await health_check.execute(ctx))
        assert said(claim) == (operator.account.address.lower(), True)
        stored = await ctx.proofs.get(claim.proof_of_task)
        assert stored["chosenOperator"] == {"operatorAddress": operator.account.address, "endpoint": operator.url}
        assert (stored["blockHash"], stored["isValid"], stored["response"]["blockHash"]) == (HASH, True, HASH)
        assert await place.judged(claim, ctx) == Verdict.approve()
    assert [each.asked for each in place.operators] == [2, 1, 1], "a right answer is judged by its signature alone"


@pytest.mark.parametrize("state", [DOWN, LYING])
async def test_an_operator_that_is_down_or_lies_is_tried_again_and_then_is_not_valid(place: Place, state: str) -> None:
    operator = place.operators[1]
    operator.state = state
    ctx = place.context(1)
    claim = claim_of(await health_check.execute(ctx))
    assert (said(claim), operator.asked) == ((operator.account.address.lower(), False), 3)
    stored = await ctx.proofs.get(claim.proof_of_task)
    assert (stored["response"], stored["isValid"]) == (None, False)
    assert await place.judged(claim, ctx) == Verdict.approve()
    assert operator.asked > 3, "who says that it fails is not believed"
    operator.state = "well"
    assert await place.judged(claim, ctx) == Verdict.reject("the operator answers")


ANSWERS: list[Any] = [
    lambda result: {**result, "address": SOMEONE},
    lambda result: {**result, "blockHash": "0x" + "00" * 32},
    lambda result: {**result, "signature": "0x" + "11" * 64 + "1b"},
    lambda result: {**result, "signature": "0x" + "ff" * 64 + "1b"},
    lambda result: {**result, "signature": result["signature"][:-2] + "00"},
    lambda result: {**result, "signature": result["signature"] + "00"},
    lambda result: {**result, "signature": None},
    lambda result: {key: value for key, value in result.items() if key != "address"},
    lambda result: [result],
    lambda _result: None,
    lambda _result: "x" * 20_000,
]


async def test_another_keys_signature_in_the_operators_name_is_none(place: Place) -> None:
    signed = Account.sign_message(encode_defunct(keccak(hexstr=HASH)), ACCOUNTS[5].private_key)
    place.operators[0].after = lambda result: {**result, "signature": f"0x{bytes(signed.signature).hex()}"}
    assert said(claim_of(await health_check.execute(place.context(tries=1))))[1] is False


@pytest.mark.parametrize("answer", ANSWERS)
async def test_an_answer_that_is_not_the_operators_own_is_none(place: Place, answer: Any) -> None:
    place.operators[0].after = answer
    assert said(claim_of(await health_check.execute(place.context(tries=1))))[1] is False


async def test_one_failure_is_no_absence(place: Place) -> None:
    operator = place.operators[0]
    operator.after = lambda result: {} if operator.asked < 3 else result
    assert said(claim_of(await health_check.execute(place.context())))[1] is True


async def test_a_high_s_is_refused_as_the_example_refuses_it(place: Place) -> None:
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

    def malleable(result: dict[str, Any]) -> dict[str, Any]:
        signature = result["signature"]
        high = order - int(signature[66:130], 16)
        return {**result, "signature": f"{signature[:66]}{high:064x}{'1c' if signature[-2:] == '1b' else '1b'}"}

    place.operators[0].after = malleable
    assert said(claim_of(await health_check.execute(place.context(tries=1))))[1] is False


@pytest.mark.parametrize("endpoint", [b"", b"\xff\xfe", b"ftp://x", b"x" * 100_000, b"http://a\nb/"])
async def test_an_endpoint_that_nobody_can_ask_is_not_valid_and_does_not_grow_the_proof(
    place: Place, endpoint: bytes
) -> None:
    place.contracts.endpoints[place.operators[0].account.address] = endpoint
    ctx = place.context(tries=1)
    claim = claim_of(await health_check.execute(ctx))
    assert said(claim)[1] is False
    assert len((await ctx.proofs.get(claim.proof_of_task))["chosenOperator"]["endpoint"]) <= 512
    assert await place.judged(claim, ctx) == Verdict.approve()


async def test_a_private_address_is_asked_only_where_that_is_allowed(place: Place) -> None:
    assert said(claim_of(await health_check.execute(place.context(allow_private=False))))[1] is False
    assert place.operators[0].asked == 0


async def test_there_is_nothing_to_do_without_an_operator_or_for_one_that_is_not_registered(place: Place) -> None:
    del place.contracts.endpoints[place.operators[0].account.address]
    assert await health_check.execute(place.context()) is None
    place.contracts.operators = []
    assert await health_check.execute(place.context()) is None


async def test_a_rule_without_epochs_says_what_is_wrong(place: Place) -> None:
    with pytest.raises(ValueError, match="trigger of type epoch"):
        await health_check.execute(replace(place.context(), trigger=replace(place.context().trigger, epoch=None)))


async def changed_proof(ctx: TaskContext[Settings], claim: Claim, **changed: Any) -> Claim:
    stored = {**(await ctx.proofs.get(claim.proof_of_task)), **changed}
    return replace(claim, proof_of_task=await ctx.proofs.put(stored))


async def test_a_claim_that_does_not_fit_is_rejected(place: Place) -> None:
    ctx = place.context()
    claim = claim_of(await health_check.execute(ctx))
    stored = await ctx.proofs.get(claim.proof_of_task)
    other = place.operators[1].account.address
    signed, chosen = stored["response"], stored["chosenOperator"]
    wrong: list[dict[str, Any]] = [
        {"chosenOperator": {**chosen, "endpoint": "http://elsewhere/"}},
        {"response": {**signed, "address": other}},
        {"response": {**signed, "signature": "0x" + "11" * 64 + "1b"}},
        {"response": None},
        {"isValid": False},
        {"isValid": 1},
        {"more": 1},
        {"blockHash": f"0x{HASH[2:].upper()}"},
        {"response": {**signed, "more": 1}},
    ]
    for changed in wrong:
        assert (await place.judged(await changed_proof(ctx, claim, **changed), ctx)).approved is False, changed
    moved = await changed_proof(ctx, claim, chosenOperator={**chosen, "operatorAddress": other})
    for data in (claim.data, encode(["address", "bool"], [other, True]), b"", claim.data[:-1] + b"\0"):
        assert (await place.judged(replace(moved, data=data), ctx)).approved is False
    assert (await place.judged(replace(claim, proof_of_task="{}"), ctx)).approved is False
    assert await place.judged(claim, ctx) == Verdict.approve()


async def test_who_is_down_is_not_said_to_be_valid(place: Place) -> None:
    operator = place.operators[0]
    operator.state = DOWN
    ctx = place.context(tries=1)
    claim = await changed_proof(ctx, claim_of(await health_check.execute(ctx)), isValid=True)
    claim = replace(claim, data=encode(["address", "bool"], [operator.account.address, True]))
    assert (await place.judged(claim, ctx)).approved is False


async def test_a_claim_out_of_its_window_is_rejected_and_one_of_an_unknown_block_has_no_vote(place: Place) -> None:
    ctx = place.context()
    claim = claim_of(await health_check.execute(ctx))
    place.contracts.head = 110
    assert await place.judged(claim, ctx) == Verdict.approve()
    place.contracts.head = 111
    assert (await place.judged(claim, ctx)).reason == "block 100 is 11 blocks old; window is 10"
    place.contracts.known = False
    assert (await place.judged(claim, ctx)).approved is None


async def test_the_block_of_a_claim_has_to_be_the_rules_own(place: Place) -> None:
    ctx = place.context()
    claim = claim_of(await health_check.execute(ctx))
    for trigger in (replace(ctx.trigger, block_number=99), replace(ctx.trigger, block_hash=b"\x01" * 32)):
        assert (await place.judged(claim, replace(ctx, trigger=trigger))).approved is False


@settings_of_hypothesis(deadline=None, max_examples=30)
@given(data=st.data())
async def test_a_claim_with_any_byte_changed_is_not_approved(data: st.DataObject) -> None:
    async with Operator(ACCOUNTS[1], _hash_of) as operator:
        contracts = Contracts([operator.account.address], {operator.account.address: operator.url.encode()})
        place = Place(contracts, [operator])
        ctx = place.context()
        claim = claim_of(await health_check.execute(ctx))
        whole = bytearray(claim.proof_of_task.encode() + claim.data)
        where = data.draw(st.integers(0, len(whole) - 1))
        whole[where] ^= data.draw(st.integers(1, 127))
        size = len(claim.proof_of_task)
        changed = replace(claim, proof_of_task=whole[:size].decode(errors="replace"), data=bytes(whole[size:]))
        assert not (await place.judged(changed, ctx)).approved
        assert (await place.judged(claim, ctx)).approved is True


@pytest.mark.parametrize("state", [WELL, DOWN])
async def test_a_proof_that_is_its_own_text_is_not_approved_with_any_byte_changed(place: Place, state: str) -> None:
    """No CID hides here what the validator itself would overlook, such as another spelling of the same address."""
    place.operators[0].state = state
    inline: Any = Inline(100_000)
    ctx = replace(place.context(tries=1), proofs=inline)
    claim = claim_of(await health_check.execute(ctx))
    assert await place.judged(claim, ctx, inline) == Verdict.approve()
    text = claim.proof_of_task.encode()
    for where in range(len(text)):
        for flip in (0x20, 0x01):  # the other case of a letter, and the next digit
            changed = bytearray(text)
            changed[where] ^= flip
            wrong = replace(claim, proof_of_task=changed.decode())
            assert not (await place.judged(wrong, ctx, inline)).approved, wrong.proof_of_task


async def test_an_address_in_small_letters_is_the_operators_own_and_stands_checksummed_in_the_proof(
    place: Place,
) -> None:
    place.operators[0].after = lambda result: {**result, "address": result["address"].lower()}
    ctx = place.context()
    claim = claim_of(await health_check.execute(ctx))
    proof = await ctx.proofs.get(claim.proof_of_task)
    assert proof["response"]["address"] == ACCOUNTS[1].address
    assert await place.judged(claim, ctx) == Verdict.approve()


async def test_a_signature_over_the_hash_itself_is_not_the_one_that_the_stack_makes(place: Place) -> None:
    signed = Account.sign_message(encode_defunct(hexstr=HASH), ACCOUNTS[1].private_key)
    place.operators[0].after = lambda result: {**result, "signature": f"0x{bytes(signed.signature).hex()}"}
    claim = claim_of(await health_check.execute(place.context(tries=1)))
    assert said(claim)[1] is False
