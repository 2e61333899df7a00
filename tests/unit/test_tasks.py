"""The shipped tasks, called as a user would call his own."""

from typing import Any

import pytest
from eth_abi.abi import decode, encode

from listener import Claim, TaskContext, TaskResult, Verdict
from listener.testing import claim_context, context, event
from tasks import block_report, intent

SOMEONE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


def intent_context(*, log_index: int = 0, attempt: int = 1, data: bytes = b"hello") -> TaskContext[None]:
    args = {"block": 12, "relayerId": 0, "chainId": 10, "_to": SOMEONE, "_data": data}
    return context(block_number=12, event=event("IntentSent", args, log_index=log_index), attempt=attempt)


async def test_an_intent_is_answered_with_what_it_asks_for() -> None:
    result = await intent.execute(intent_context())
    assert result is not None
    assert result.data == encode(["uint256", "address", "bytes"], [10, SOMEONE, b"hello"])


async def test_the_proof_of_an_intent_begins_with_its_block_and_names_its_log() -> None:
    ctx = intent_context(log_index=3)
    assert ctx.trigger.event is not None
    result = await intent.execute(ctx)
    assert result is not None
    assert result.proof_of_task == f"12+0x{ctx.trigger.event.transaction_hash.hex()}+3"


async def test_an_intent_is_answered_alike_in_every_attempt() -> None:
    assert await intent.execute(intent_context()) == await intent.execute(intent_context(attempt=4))


async def test_two_equal_intents_of_one_transaction_have_two_proofs() -> None:
    first, second = [await intent.execute(intent_context(log_index=index)) for index in (0, 1)]
    assert first is not None
    assert second is not None
    assert first.data == second.data
    assert first.proof_of_task != second.proof_of_task


async def test_an_intent_with_empty_and_with_long_data_is_carried_out_whole() -> None:
    for data in (b"", b"x" * 10_000):
        result = await intent.execute(intent_context(data=data))
        assert result is not None
        assert decode(["uint256", "address", "bytes"], result.data) == (10, SOMEONE.lower(), data)


async def test_an_intent_task_on_a_block_rule_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="give its rule a trigger of type event"):
        await intent.execute(context())


async def test_a_block_report_holds_the_block_of_its_trigger() -> None:
    ctx = context(rule="tenth", block_number=50, block_hash=b"\x07" * 32)
    result = await block_report.execute(ctx)
    assert result.proof_of_task == "50+tenth+0x" + "07" * 32
    assert result.data == encode(["uint256", "bytes32"], [50, b"\x07" * 32])
    assert await block_report.execute(ctx) == result


async def test_two_rules_and_two_blocks_have_reports_of_their_own() -> None:
    contexts = [context(rule=rule, block_number=number) for rule in ("a", "b") for number in (1, 2)]
    assert len({(await block_report.execute(ctx)).proof_of_task for ctx in contexts}) == 4


# Validated


def claim_of(result: TaskResult | None, **changed: Any) -> Claim:
    assert result is not None
    given = {"proof_of_task": result.proof_of_task, "data": result.data, "task_definition_id": 0, "performer": SOMEONE}
    return Claim(**{**given, **changed})


async def test_what_the_intent_task_answers_its_validator_approves() -> None:
    ctx = intent_context(log_index=3)
    claim = claim_of(await intent.execute(ctx))
    assert await intent.validate(claim_context(claim, found=[ctx]), claim) == Verdict.approve()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"data": b""}, "the data is not what the intent asks for"),
        ({"proof_of_task": f"12+0x{'ab' * 32}+3"}, "log 3 of block 12 is of another transaction"),
        ({"proof_of_task": f"12+0x{'ab' * 32}+4"}, "block 12 has no such intent at log 4"),
        ({"proof_of_task": f"13+0x{'ab' * 32}+3"}, "block 13 has no such intent at log 3"),
        ({"proof_of_task": "12"}, "the proof is not BLOCK+0xTRANSACTION+LOG_INDEX"),
        ({"proof_of_task": ""}, "the proof is not BLOCK+0xTRANSACTION+LOG_INDEX"),
        ({"proof_of_task": f"-12+0x{'ab' * 32}+3"}, "the proof is not BLOCK+0xTRANSACTION+LOG_INDEX"),
        ({"proof_of_task": f"{'9' * 5000}+0x{'ab' * 32}+3"}, "the proof is not BLOCK+0xTRANSACTION+LOG_INDEX"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_an_intent_that_is_not_what_the_chain_holds_is_rejected(changed: dict[str, Any], said: str) -> None:
    ctx = intent_context(log_index=3)
    claim = claim_of(await intent.execute(ctx), **changed)
    assert await intent.validate(claim_context(claim, found=[ctx]), claim) == Verdict.reject(said)


async def test_an_intent_is_approved_of_the_elected_operator_alone() -> None:
    ctx = intent_context(log_index=3)
    claim = claim_of(await intent.execute(ctx))
    other = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
    assert await intent.validate(claim_context(claim, found=[ctx], elected=SOMEONE.lower()), claim) == Verdict.approve()
    for elected in (other, f"0x{'00' * 20}"):
        verdict = await intent.validate(claim_context(claim, found=[ctx], elected=elected), claim)
        assert verdict == Verdict.reject(f"block 12 was the turn of {elected}, not of {SOMEONE}")


async def test_a_proof_that_says_the_same_in_other_digits_is_rejected() -> None:
    ctx = intent_context(log_index=3)
    result = await intent.execute(ctx)
    assert result is not None
    claim = claim_of(result, proof_of_task=f"0{result.proof_of_task}")
    assert (await intent.validate(claim_context(claim, found=[ctx]), claim)).approved is False


async def test_what_the_block_task_reports_its_validator_approves_and_nothing_else() -> None:
    ctx = context(rule="tenth", block_number=50)
    result = await block_report.execute(ctx)
    claim = claim_of(result)
    assert await block_report.validate(claim_context(claim, found=[ctx]), claim) == Verdict.approve()
    replaced = context(rule="tenth", block_number=50, block_hash=b"\x07" * 32)
    other_rule = context(rule="fifth", block_number=50)
    for found in ([replaced], [other_rule], []):
        assert (await block_report.validate(claim_context(claim, found=found), claim)).approved is False
    for changed in ({"data": b""}, {"proof_of_task": "50+tenth"}, {"proof_of_task": f"+0x{'ab' * 32}"}):
        wrong = claim_of(result, **changed)
        assert (await block_report.validate(claim_context(wrong, found=[ctx]), wrong)).approved is False
