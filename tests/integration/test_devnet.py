"""The local chain does what the tests, the demo and the benchmarks ask of it."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from listener.devnet.anvil import Anvil, AnvilError
from listener.devnet.intent_sender import IntentSender, send_intent

INTENT_SENT = "0xe958c941243c8e6ac6a3a242267ebc93ad08ee79df207df8a529968904692e9e"


async def test_an_intent_is_one_event_with_the_topic_that_others_know(anvil: Anvil) -> None:
    sender = await IntentSender.deploy(anvil)
    receipt = await anvil.receipt(await sender.send(10, anvil.accounts[1], b"\x01\x02"))
    (event,) = await sender.events()
    assert event["topics"] == [INTENT_SENT]
    assert event["transactionHash"] == receipt["transactionHash"]
    words = bytes.fromhex(event["data"].removeprefix("0x"))
    assert int.from_bytes(words[:32]) == int(receipt["blockNumber"], 16)
    assert int.from_bytes(words[64:96]) == 10


async def test_a_thousand_intents_fit_into_one_block(anvil: Anvil) -> None:
    sender = await IntentSender.deploy(anvil)
    receipt = await anvil.receipt(await sender.send_many(1000, 10, anvil.accounts[1], b"\x01"))
    events = await sender.events(from_block=int(receipt["blockNumber"], 16))
    assert [int(event["logIndex"], 16) for event in events] == list(range(1000))
    assert len({event["data"] for event in events}) == 1


async def test_blocks_come_only_when_asked_for_without_mining() -> None:
    async with Anvil(mining=False) as anvil:
        sender = await IntentSender.deploy(anvil)
        head = await anvil.head()
        await sender.send(1, anvil.accounts[1], b"")
        await sender.send(2, anvil.accounts[1], b"")
        assert await anvil.head() == head
        assert await anvil.mine() == head + 1
        assert [event["blockNumber"] for event in await sender.events()] == [hex(head + 1)] * 2


async def test_blocks_come_by_themselves_on_an_interval() -> None:
    async with Anvil(block_time_s=0.1) as anvil:
        before = await anvil.head()
        await asyncio.sleep(1)
        assert await anvil.head() > before + 1


async def test_a_reorg_replaces_blocks_and_drops_or_adds_what_they_hold(anvil: Anvil) -> None:
    sender = await IntentSender.deploy(anvil)
    old = await anvil.receipt(await sender.send(1, anvil.accounts[1], b"old"))
    head = await anvil.mine(5)
    data = f"0x{send_intent(2, anvil.accounts[1], b'new').hex()}"
    await anvil.reorg(head - 1, [({"from": anvil.accounts[2], "to": sender.address, "data": data}, 1)])
    assert await anvil.head() == head
    assert (await anvil.block(2))["hash"] != old["blockHash"]
    (event,) = await sender.events()
    assert event["blockNumber"] == hex(3)
    assert await anvil.call("eth_getTransactionReceipt", old["transactionHash"]) is None


async def test_the_safe_and_the_final_block_follow_the_slots_of_an_epoch() -> None:
    async with Anvil(slots_in_epoch=2) as anvil:
        await anvil.mine(10)
        assert (await anvil.block("safe"))["number"] == hex(8)
        assert (await anvil.block("finalized"))["number"] == hex(6)


async def test_a_chain_id_can_be_chosen() -> None:
    async with Anvil(chain_id=84532) as anvil:
        assert await anvil.call("eth_chainId") == hex(84532)


async def test_a_refused_call_names_the_method_and_the_reason(anvil: Anvil) -> None:
    with pytest.raises(AnvilError, match="eth_nothing refused"):
        await anvil.call("eth_nothing")
    with pytest.raises(AnvilError, match="there is no block 99"):
        await anvil.block(99)


async def test_a_port_that_is_taken_is_named(anvil: Anvil) -> None:
    with pytest.raises(AnvilError, match=f"port {anvil.port} is taken"):
        async with Anvil(port=anvil.port):
            pass


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child's life to its parent's")
def test_a_killed_parent_takes_anvil_along() -> None:
    script = (
        "import asyncio\nfrom listener.devnet.anvil import Anvil\n"
        "async def main():\n    async with Anvil() as a:\n"
        "        print(a._process.pid, flush=True)\n        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 5
    while _runs(pid):
        assert time.monotonic() < deadline, f"anvil {pid} outlived its parent"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"  # a zombie has ended, but nobody asked how
