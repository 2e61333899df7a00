"""An intent is approved of the operator whose turn it was, as the attestation contract has the operators."""

from pathlib import Path
from typing import Any

import pytest
from asking import ask
from eth_abi.abi import encode
from following import attending, following, write_config
from test_operators import change, deployed

from listener.devnet.accounts import ACCOUNTS, PERFORMER
from listener.devnet.aggregator import Aggregator
from listener.devnet.anvil import Anvil
from listener.devnet.intent_sender import IntentSender
from listener.runner import runner

OTHER = ACCOUNTS[7].address
TO = ACCOUNTS[8].address
INTENTS = """
[[rules]]
name = "intents"
task = "tasks.intent"
task_definition_id = 0
trigger = { type = "event", contract = "intent_sender", event = "IntentSent" }
election = { type = "round_robin" }
"""
DATA = encode(["uint256", "address", "bytes"], [10, TO, b"hello"])


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "ELECTION_PAUSE_S", 0.05)


async def verdict(url: str, proof: str, performer: str, data: bytes = DATA) -> tuple[int, Any, str]:
    body = {"proofOfTask": proof, "data": f"0x{data.hex()}", "taskDefinitionId": 0, "performer": performer}
    status, answer = await ask(url, "/task/validate", method="POST", json=body)
    return status, answer["data"], answer["message"]


def config_of(folder: Path, anvil: Anvil, sender: str, center: str, **more: Any) -> Path:
    attestation = f'[attestation]\nchain = "l2"\naddress = "{center}"\n'
    return write_config(folder, [anvil.ws_url], INTENTS, intent_sender=sender, **{"more": attestation, **more})


async def proofs_of(sender: IntentSender) -> dict[int, str]:
    """The proofs of all intents by their blocks, one in each."""
    logs = await sender.events()
    numbered = [(int(log["blockNumber"], 16), log["transactionHash"], int(log["logIndex"], 16)) for log in logs]
    return {number: f"{number}+{transaction}+{index}" for number, transaction, index in numbered}


async def test_the_elected_is_approved_and_who_was_not_is_rejected(
    anvil: Anvil, aggregator: Aggregator, tmp_path: Path
) -> None:
    center, sender = await deployed(anvil, "AttestationCenter"), await IntentSender.deploy(anvil)
    await change(anvil, center, "register", OTHER, PERFORMER.address)
    start = f"start = {await anvil.head() + 1}"
    for _ in range(4):
        await anvil.receipt(await sender.send(10, TO, b"hello"))
    proofs = await proofs_of(sender)
    ours = {number for number in proofs if number % 2 == 1}
    config = config_of(tmp_path, anvil, sender.address, center, aggregator=aggregator.url, chain=start)
    async with following(config, attests=True) as daemon:
        expected = {number: "accepted" if number in ours else "skipped" for number in proofs}
        await daemon.until(lambda: dict(daemon.states("intents")) == expected)
        assert {call.proof_of_task for call in aggregator.accepted} == {proofs[number] for number in ours}
        await change(anvil, center, "unregister", OTHER)  # who is elected is asked at the intent's block
        for number, proof in proofs.items():
            right, wrong = (PERFORMER.address, OTHER) if number in ours else (OTHER, PERFORMER.address)
            assert await verdict(daemon.url, proof, right) == (200, True, None)
            said = f"block {number} was the turn of {right}, not of {wrong}"
            assert await verdict(daemon.url, proof, wrong) == (200, False, said)
            assert (await verdict(daemon.url, proof, TO))[:2] == (200, False)
            assert (await verdict(daemon.url, proof, right, DATA[:-1]))[:2] == (200, False)


async def test_an_attester_that_cannot_read_who_was_elected_is_unsure(anvil: Anvil, tmp_path: Path) -> None:
    sender = await IntentSender.deploy(anvil)
    await anvil.receipt(await sender.send(10, TO, b"hello"))
    ((_, proof),) = (await proofs_of(sender)).items()
    async with attending(config_of(tmp_path, anvil, sender.address, OTHER)) as url:  # no contract is there
        unsure = (503, False, "validate raised ElectionFailed")
        assert await verdict(url, proof, PERFORMER.address) == unsure
        assert (await verdict(url, proof, PERFORMER.address, b"wrong"))[:2] == (200, False), "wrong, whoever performs"


async def test_an_attester_reads_an_attestation_contract_on_another_chain(anvil: Anvil, tmp_path: Path) -> None:
    async with Anvil(chain_id=5) as other:
        center = await deployed(other, "AttestationCenter")
        await change(other, center, "register", OTHER)
        sender = await IntentSender.deploy(anvil)
        now = int((await other.block("latest"))["timestamp"], 16)
        await anvil.call("evm_setNextBlockTimestamp", now + 5)
        await anvil.receipt(await sender.send(10, TO, b"hello"))
        ((_, proof),) = (await proofs_of(sender)).items()
        more = f'[attestation]\nchain = "l1"\naddress = "{center}"\n'
        more += f'[chains.l1]\nendpoints = ["{other.ws_url}"]\nchain_id = 5\n'
        async with attending(config_of(tmp_path, anvil, sender.address, center, more=more)) as url:
            early = await verdict(url, proof, OTHER)
            assert early == (503, False, "validate raised ElectionFailed"), "no block is later than the intent's yet"
            await other.call("evm_setNextBlockTimestamp", now + 6)
            await change(other, center, "register", PERFORMER.address)  # too late for this intent
            assert await verdict(url, proof, OTHER) == (200, True, None)
            assert (await verdict(url, proof, PERFORMER.address))[:2] == (200, False)
