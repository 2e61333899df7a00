"""The whole way on a real chain: blocks and intents in, accepted tasks out, through gaps and reorgs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from eth_account import Account
from following import BLOCKS, following, write_config

from listener.devnet.accounts import ACCOUNTS
from listener.devnet.aggregator import Aggregator
from listener.devnet.anvil import Anvil
from listener.devnet.intent_sender import IntentSender, send_intent

INTENTS = """
[[rules]]
name = "intents"
task = "tasks.intent"
task_definition_id = 0
trigger = { type = "event", contract = "intent_sender", event = "IntentSent" }
"""
TO = ACCOUNTS[1].address


@pytest.fixture
async def chain() -> AsyncIterator[Anvil]:
    """Blocks come only when the test asks for them."""
    async with Anvil(mining=False) as anvil:
        yield anvil


@pytest.fixture
async def sender(chain: Anvil) -> IntentSender:
    return await IntentSender.deploy(chain)


def config(folder: Path, chain: Anvil, sender: IntentSender, aggregator: Aggregator, rules: str, **more: str) -> Path:
    urls = [chain.ws_url, chain.http_url]
    return write_config(folder, urls, rules, aggregator=aggregator.url, intent_sender=sender.address, **more)


async def intents(sender: IntentSender, *chain_ids: int) -> int:
    """Mine one block with an intent for each chain id; return its number."""
    for chain_id in chain_ids:
        await sender.send(chain_id, TO, b"data")
    return await sender.anvil.mine()


async def test_blocks_epochs_and_intents_are_accepted_once_each(
    chain: Anvil, sender: IntentSender, aggregator: Aggregator, tmp_path: Path
) -> None:
    rules = INTENTS + BLOCKS.replace("every = 1", "every = 2")
    rules += BLOCKS.replace('"blocks"', '"epochs"').replace(
        'type = "block", chain = "l2", every = 1', 'type = "epoch", length = 5'
    )
    first = await chain.head() + 1
    async with following(config(tmp_path, chain, sender, aggregator, rules)) as daemon:
        await daemon.walked(first - 1)
        numbers = [await intents(sender, *([10] * count)) for count in (1, 0, 3, 2, 0, 0, 1, 0)]
        await daemon.walked(numbers[-1])
        await daemon.until(lambda: {state for _, state in daemon.states()} == {"accepted"})
    blocks = [number for number in numbers if number % 2 == 0]
    epochs = [number for number in numbers if number % 5 == 0]
    assert [number for number, _ in daemon.states("blocks")] == blocks
    assert [number for number, _ in daemon.states("epochs")] == epochs
    logs = [(row["block_number"], row["log_index"]) for row in daemon.rows if row["rule"] == "intents"]
    assert logs == [(int(event["blockNumber"], 16), int(event["logIndex"], 16)) for event in await sender.events()]
    assert len(aggregator.accepted) == len(blocks) + len(epochs) + len(logs)
    assert aggregator.refused == []


async def test_a_condition_on_a_plain_argument_is_tested_on_the_decoded_value(
    chain: Anvil, sender: IntentSender, aggregator: Aggregator, tmp_path: Path
) -> None:
    rules = INTENTS.replace('"IntentSent" }', '"IntentSent", where = { chainId = 10 } }')
    async with following(config(tmp_path, chain, sender, aggregator, rules)) as daemon:
        await daemon.walked(1)
        await intents(sender, 1, 10, 8453, 10)
        await daemon.until(lambda: len(aggregator.accepted) == 2)
    assert [row["log_index"] for row in daemon.rows] == [1, 3]


async def test_what_happened_while_the_daemon_was_away_is_made_up_for_in_order(
    chain: Anvil, sender: IntentSender, aggregator: Aggregator, tmp_path: Path
) -> None:
    path = config(tmp_path, chain, sender, aggregator, INTENTS)
    async with following(path) as daemon:
        await daemon.walked(1)
    for count in (1, 2, 0, 3):
        await intents(sender, *range(1, count + 1))
    await chain.mine(150)
    await intents(sender, 7)
    async with following(path) as daemon:
        await daemon.until(lambda: len(aggregator.accepted) == 7)
    logs = [(row["block_number"], row["log_index"]) for row in daemon.rows]
    assert logs == [(int(event["blockNumber"], 16), int(event["logIndex"], 16)) for event in await sender.events()]


@pytest.mark.parametrize("depth", [1, 3])
async def test_unsent_intents_of_a_reorg_are_cancelled(
    chain: Anvil, sender: IntentSender, aggregator: Aggregator, tmp_path: Path, depth: int
) -> None:
    path = config(tmp_path, chain, sender, aggregator, INTENTS + "confirmations = 5\n")
    async with following(path) as daemon:
        await daemon.walked(1)
        for number in range(3):
            last = await intents(sender, number)
        await daemon.walked(last)
        await chain.reorg(depth)
        last = await chain.mine(6)
        await daemon.walked(last)
        kept = 3 - depth
        await daemon.until(lambda: len(aggregator.accepted) == kept)
    assert [state for _, state in daemon.states()] == ["accepted"] * kept + ["cancelled"] * depth


@pytest.mark.parametrize("depth", [1, 3])
async def test_a_sent_intent_whose_transaction_moves_is_paired_and_not_sent_again(
    chain: Anvil, sender: IntentSender, aggregator: Aggregator, tmp_path: Path, depth: int
) -> None:
    path = config(tmp_path, chain, sender, aggregator, INTENTS + BLOCKS)
    async with following(path) as daemon:
        await daemon.walked(1)
        transactions = []
        for nonce in range(3):
            transactions.append(await signed_intent(chain, sender, nonce))
            await chain.call("eth_sendRawTransaction", transactions[-1])
            last = await chain.mine()
        await daemon.walked(last)
        await daemon.until(lambda: len(aggregator.accepted) == 6)
        # Mined again, all in the first of the new blocks: another log index, another block.number in the arguments.
        await chain.reorg(depth, [(raw, 0) for raw in transactions[3 - depth :]])
        last = await chain.mine()
        await daemon.walked(last)
        await daemon.until(lambda: len(aggregator.accepted) == 6 + depth + 1)
        await daemon.until(lambda: not {"pending", "running", "ready"} & {state for _, state in daemon.states()})
    rows = [row for row in daemon.rows if row["rule"] == "intents"]
    assert [row["state"] for row in rows] == ["accepted"] * 3 + ["skipped"] * depth
    assert [row["orphaned"] for row in rows] == [0] * (3 - depth) + [1] * depth + [0] * depth
    assert [row["error"] for row in rows[3:]] == [f"already sent as task {row['id']}" for row in rows[3 - depth : 3]]
    assert len({call.proof_of_task for call in aggregator.accepted}) == 6 + depth + 1
    assert aggregator.refused == []


async def signed_intent(chain: Anvil, sender: IntentSender, nonce: int) -> str:
    """Sign a transaction that can be sent again after a reorg dropped it."""
    transaction = {
        "to": sender.address,
        "data": send_intent(10, TO, b"again"),
        "nonce": nonce,
        "gas": 200_000,
        "maxFeePerGas": 10**11,
        "maxPriorityFeePerGas": 10**9,
        "chainId": chain.chain_id,
        "value": 0,
    }
    return "0x" + Account.sign_transaction(transaction, ACCOUNTS[2].private_key).raw_transaction.hex()


async def test_a_restarted_chain_is_called_what_it_is(
    chain: Anvil, sender: IntentSender, aggregator: Aggregator, tmp_path: Path
) -> None:
    path = config(tmp_path, chain, sender, aggregator, BLOCKS)
    async with following(path) as daemon:
        await daemon.walked(1)
        last = await chain.mine(5)
        await daemon.walked(last)
        await daemon.until(lambda: len(aggregator.accepted) == 5)
        port = chain.port
        await chain.close()
        await asyncio.sleep(1.1)  # anvil's genesis holds the time in seconds
        async with Anvil(mining=False, port=port) as other:
            await other.mine(9)
            await daemon.until(lambda: daemon.chain["halted"])
    assert "another chain, such as a local one" in daemon.chain["halted"]
    assert len(daemon.rows) == 5


async def test_a_finality_is_waited_for_on_a_real_chain(aggregator: Aggregator, tmp_path: Path) -> None:
    async with Anvil(mining=False, slots_in_epoch=2) as anvil:
        sender = await IntentSender.deploy(anvil)
        rules = INTENTS + 'finality = "finalized"\n'
        rules += INTENTS.replace('"intents"', '"safe"').replace("_id = 0", "_id = 3") + 'finality = "safe"\n'
        async with following(config(tmp_path, anvil, sender, aggregator, rules)) as daemon:
            await daemon.walked(1)
            number = await intents(sender, 10)
            await anvil.mine(1)
            await daemon.stay(number + 1)
            assert aggregator.accepted == []
            await anvil.mine(1)  # two more: safe
            await daemon.until(lambda: (number, "accepted") in daemon.states("safe"))
            await anvil.mine(1)
            await daemon.stay(number + 3)
            assert daemon.states("intents") == [(number, "pending")]
            await anvil.mine(1)  # four more: final
            await daemon.until(lambda: daemon.states("intents") == [(number, "accepted")])
