"""The count from outside calls a miss a miss, and a double a double."""

from typing import Any

from listener.devnet.count import (
    BLOCK_RULE,
    DOMAINS,
    EPOCH_RULE,
    EVENT_RULE,
    HEALTH,
    PRICES,
    Expected,
    count,
    counted_as,
    expected,
    expected_of,
)


def block(number: int, block_hash: str = "0xaa") -> dict[str, Any]:
    return {"number": hex(number), "hash": block_hash}


def event(number: int, transaction: str, index: int) -> dict[str, Any]:
    return {"blockNumber": hex(number), "transactionHash": transaction, "logIndex": hex(index)}


def proofs(triggers: list[Expected]) -> list[str]:
    return [trigger.proof for trigger in triggers]


def test_every_fifth_block_and_every_epoch_is_expected_with_its_own_hash() -> None:
    triggers = expected([block(number, f"0x{number:02x}") for number in range(1, 13)], [])
    assert [(trigger.rule, trigger.block_number) for trigger in triggers] == [
        (BLOCK_RULE, 5),
        (BLOCK_RULE, 10),
        (EPOCH_RULE, 12),
    ]
    assert triggers[0].proof == f"5+{BLOCK_RULE}+0x05"


def test_a_block_can_be_expected_by_two_rules() -> None:
    assert [trigger.rule for trigger in expected([block(60)], [])] == [BLOCK_RULE, EPOCH_RULE]


def test_every_log_is_expected_even_when_two_are_equal() -> None:
    triggers = expected([], [event(7, "0xt1", 0), event(7, "0xt1", 1)])
    assert proofs(triggers) == ["7+0xt1+0", "7+0xt1+1"]
    assert {trigger.rule for trigger in triggers} == {EVENT_RULE}


def test_nothing_is_missed_or_doubled_when_each_trigger_was_accepted_once() -> None:
    triggers = expected([block(60)], [event(60, "0xt1", 0), event(60, "0xt1", 1)])
    result = count(triggers, proofs(triggers))
    assert (result.triggers, result.missed, result.doubled, result.stray) == (4, (), 0, 0)


def test_a_trigger_without_a_call_is_missed() -> None:
    triggers = expected([], [event(7, "0xt1", 0), event(7, "0xt2", 1)])
    assert count(triggers, ["7+0xt1+0"]).missed == (triggers[1],)


def test_each_call_beyond_the_first_is_a_double() -> None:
    triggers = expected([block(5)], [])
    assert count(triggers, proofs(triggers) * 3).doubled == 2


def test_a_double_does_not_hide_a_miss_in_the_same_transaction() -> None:
    triggers = expected([], [event(7, "0xt1", 0), event(7, "0xt1", 1)])
    result = count(triggers, ["7+0xt1+0", "7+0xt1+0"])
    assert (len(result.missed), result.doubled) == (1, 1)


def test_an_intent_accepted_before_its_transaction_moved_is_done() -> None:
    result = count(expected([], [event(8, "0xt1", 2)]), ["7+0xt1+0"])
    assert (result.missed, result.doubled, result.stray) == ((), 0, 0)


def test_an_intent_accepted_before_and_after_its_transaction_moved_is_a_double() -> None:
    result = count(expected([], [event(8, "0xt1", 2)]), ["7+0xt1+0", "8+0xt1+2"])
    assert (result.missed, result.doubled, result.stray) == ((), 1, 0)


def test_a_call_for_a_block_that_left_the_chain_is_a_stray() -> None:
    triggers = expected([block(5, "0xbb")], [])
    result = count(triggers, [f"5+{BLOCK_RULE}+0xaa", f"5+{BLOCK_RULE}+0xbb"])
    assert (result.missed, result.doubled, result.stray) == ((), 0, 1)


def test_an_empty_chain_expects_nothing() -> None:
    result = count(expected([], []), [])
    assert (result.triggers, result.missed, result.doubled, result.stray) == (0, (), 0, 0)


def test_a_proof_that_is_kept_counts_by_its_rule_and_the_block_that_it_names() -> None:
    triggers = expected([block(8, "0xb8"), block(9, "0xb9")], [], [PRICES])
    assert [(trigger.rule, trigger.block_number) for trigger in triggers] == [(PRICES.name, 8)]
    named = counted_as(PRICES.definition, "bafkrei", {"blockHash": "0xb8"})
    assert count(triggers, [named]).missed == ()
    assert count(triggers, [named, counted_as(PRICES.definition, "bafkrei2", {"blockHash": "0xb8"})]).doubled == 1


def test_a_kept_proof_that_is_nowhere_or_of_another_block_or_rule_is_stray() -> None:
    triggers = expected([block(8, "0xb8")], [], [PRICES])
    for name in (
        counted_as(PRICES.definition, "bafkrei", None),
        counted_as(PRICES.definition, "bafkrei", {"blockHash": "0xb7"}),
        counted_as(HEALTH.definition, "bafkrei", {"blockHash": "0xb8"}),
        counted_as(0, "bafkrei", {"blockHash": "0xb8"}),
    ):
        assert (count(triggers, [name]).missed, count(triggers, [name]).stray) == (tuple(triggers), 1)


def test_a_kept_proof_of_a_log_counts_by_its_block_and_index() -> None:
    logs = [{**event(7, "0xt1", index), "blockHash": "0xb7"} for index in (0, 1)]
    triggers = expected_of(DOMAINS, logs)
    assert [(trigger.rule, trigger.block_number) for trigger in triggers] == [(DOMAINS.name, 7)] * 2
    first = counted_as(DOMAINS.definition, "bafkrei", {"blockHash": "0xb7", "logIndex": 0})
    assert count(triggers, [first]).missed == (triggers[1],)
