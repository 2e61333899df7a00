"""The shipped tasks, called as a user would call his own."""

import pytest
from eth_abi.abi import decode, encode

from listener import TaskContext
from listener.testing import context, event
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
