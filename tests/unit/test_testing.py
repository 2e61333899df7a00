"""What users test their tasks with does what the daemon would do."""

from datetime import UTC, datetime

import aiohttp
import pytest
from eth_bloom import BloomFilter
from hexbytes import HexBytes
from pydantic import BaseModel

from listener.chains.wire import as_block, as_logs
from listener.model import Block, Log, Occasion
from listener.testing import Emitted, FakeNode, NodeError, ScriptedChain, context, event, logs_changed, ranges_up_to

CONTRACT = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
WITHOUT = (False,)  # transactions
SOMEONE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


class Settings(BaseModel):
    pair: str = "ETHUSDT"


def test_a_context_needs_no_argument_and_is_the_same_each_time() -> None:
    first, second = context(), context()
    assert first.trigger == second.trigger
    assert first.key == second.key
    assert first.attempt == 1
    assert first.settings is None
    assert first.trigger.block_number == 1
    assert len(first.trigger.block_hash) == 32
    assert first.trigger.due == datetime.fromtimestamp(first.trigger.block_timestamp, UTC)
    assert 0 < first.deadline <= 30


def test_what_is_given_is_what_a_task_sees() -> None:
    seen = context(
        Settings(pair="X"),
        rule="r",
        chain="l2",
        chain_id=10,
        block_number=7,
        block_hash=b"\x01" * 32,
        block_timestamp=5,
        epoch=3,
        body={"a": 1},
        performer=SOMEONE.lower(),
        attempt=2,
        timeout_s=1,
    )
    trigger = seen.trigger
    assert seen.settings == Settings(pair="X")
    assert (trigger.rule, trigger.chain, trigger.chain_id, trigger.block_number) == ("r", "l2", 10, 7)
    assert (trigger.block_hash, trigger.block_timestamp, trigger.epoch) == (HexBytes(b"\x01" * 32), 5, 3)
    assert (trigger.body, seen.performer, seen.attempt) == ({"a": 1}, SOMEONE, 2)
    assert seen.deadline <= 1
    assert context(performer=None).performer is None


def test_a_key_is_the_one_that_the_journal_would_give() -> None:
    made = context(rule="r", chain_id=10, block_number=7, event=event("E", {}, log_index=4))
    block = Block(7, bytes(made.trigger.block_hash), b"", 0, 0, 0)
    log = Log("", (), b"", 7, block.hash, b"", 4)
    assert made.key == Occasion("r", "event", block, log=log).key(10)
    assert len({context(block_number=n, event=event("E", {}, log_index=i)).key for n in (1, 2) for i in (0, 1)}) == 4


def test_arguments_of_an_event_have_the_types_of_decoded_ones_and_cannot_be_changed() -> None:
    made = event("E", {"amount": 2**255, "to": SOMEONE.lower(), "data": b"\x01", "parts": [{"id": 1}, {"id": b"x"}]})
    assert made.args["amount"] == 2**255
    assert made.args["to"] == SOMEONE
    assert isinstance(made.args["data"], HexBytes)
    assert isinstance(made.args["parts"], tuple)
    assert made.args["parts"][1]["id"] == HexBytes(b"x")
    assert isinstance(made.transaction_hash, HexBytes)
    for mapping in (made.args, made.args["parts"][0]):
        with pytest.raises(TypeError):
            mapping["id"] = 2


def test_a_float_is_no_argument_of_an_event() -> None:
    with pytest.raises(TypeError, match="float"):
        event("E", {"amount": 1.5})


def test_a_task_that_uses_what_it_was_not_given_is_told_how_to_give_it() -> None:
    with pytest.raises(AssertionError, match=r"ctx\.w3\.eth: give context\(…, w3=…\)"):
        _ = context().w3.eth
    with pytest.raises(AssertionError, match=r"ctx\.http\.get: give context\(…, http=…\)"):
        _ = context().http.get


def test_one_w3_stands_for_every_block() -> None:
    w3 = object()
    made = context(w3=w3)
    assert made.w3 is w3
    assert made.at(5) is w3


# The scripted chain


def test_a_fork_replaces_blocks_and_the_old_ones_can_return() -> None:
    chain = ScriptedChain(height=5)
    old = chain.fork(2)
    assert [block.number for block in old] == [4, 5]
    new = chain.add(count=3)
    assert new.number == 6
    assert chain.block(4) != old[0]
    assert chain.with_hash(old[0].hash) is None
    chain.return_to(old)
    assert chain.head == old[-1]
    assert chain.with_hash(new.hash) is None


def test_a_header_and_its_logs_are_what_the_daemon_reads() -> None:
    chain = ScriptedChain(height=3)
    emitted = Emitted(CONTRACT, [b"\x01" * 32, b"\x02" * 32], b"data", "t")
    block = chain.add(emitted, emitted)
    header = as_block(block.header())
    assert (header.number, header.hash, header.parent_hash) == (4, block.hash, block.parent_hash)
    bloom = BloomFilter(header.bloom)
    assert bytes.fromhex(CONTRACT[2:]) in bloom
    assert b"\x02" * 32 in bloom
    assert b"\x03" * 32 not in bloom
    logs = as_logs(block.logs())
    assert [log.index for log in logs] == [0, 1]
    assert {log.transaction_hash for log in logs} == {emitted.transaction_hash}


def test_the_same_script_gives_the_same_hashes_and_another_name_other_ones() -> None:
    assert ScriptedChain(3).head == ScriptedChain(3).head
    assert ScriptedChain(3, name="b").blocks[0].hash != ScriptedChain(3).blocks[0].hash


# The node


async def ask(node: FakeNode, method: str, *params: object) -> dict[str, object]:
    request = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    async with aiohttp.ClientSession() as session, session.post(node.http_url, json=request) as response:
        answer: dict[str, object] = await response.json()
        return answer


async def test_a_node_answers_by_number_by_tag_by_hash_and_by_range() -> None:
    chain = ScriptedChain(4)
    block = chain.add(Emitted(CONTRACT, [b"\x01" * 32]))
    chain.final = 2
    async with FakeNode(chain, chain_id=5) as node:
        assert (await ask(node, "eth_chainId"))["result"] == "0x5"
        for wanted in ("latest", "0x5"):
            assert (await ask(node, "eth_getBlockByNumber", wanted, *WITHOUT))["result"] == block.header()
        assert (await ask(node, "eth_getBlockByNumber", "finalized", *WITHOUT))["result"] == chain.blocks[2].header()
        assert (await ask(node, "eth_getBlockByNumber", "0x6", *WITHOUT))["result"] is None
        assert "error" in await ask(node, "eth_getBlockByNumber", "safe", *WITHOUT)
        by_hash = {"blockHash": "0x" + block.hash.hex(), "address": [CONTRACT.lower()], "topics": [["0x" + "01" * 32]]}
        assert (await ask(node, "eth_getLogs", by_hash))["result"] == block.logs()
        assert (await ask(node, "eth_getLogs", {"fromBlock": "0x0", "toBlock": "0x9"}))["result"] == block.logs()
        elsewhere = {"fromBlock": "0x0", "toBlock": "0x9", "topics": [["0x" + "02" * 32]]}
        assert (await ask(node, "eth_getLogs", elsewhere))["result"] == []
        assert "error" in await ask(node, "eth_getLogs", {"blockHash": "0x" + "00" * 32})
        assert "error" in await ask(node, "eth_nothing")
        assert node.count("eth_getLogs") == 4


async def test_a_node_misbehaves_as_told() -> None:
    chain = ScriptedChain(4)
    chain.add(Emitted(CONTRACT, [b"\x01" * 32]))
    async with FakeNode(chain) as node:
        node.before = ranges_up_to(2, "too wide", -32005)
        assert (await ask(node, "eth_getLogs", {"fromBlock": "0x1", "toBlock": "0x3"}))["error"] == {
            "code": -32005,
            "message": "too wide",
        }
        node.after = logs_changed(lambda logs: logs * 2)
        logs = (await ask(node, "eth_getLogs", {"fromBlock": "0x4", "toBlock": "0x5"}))["result"]
        assert isinstance(logs, list)
        assert len(logs) == 2

        async def gone(_method: str, _params: list[object]) -> None:
            raise NodeError(-32603, "internal error")

        node.before = gone
        assert "error" in await ask(node, "eth_chainId")


async def test_a_node_listens_on_the_same_port_again() -> None:
    async with FakeNode() as node:
        port = node.port
        await node.close()
        with pytest.raises(aiohttp.ClientConnectionError):
            await ask(node, "eth_chainId")
        await node.start()
        assert node.port == port
        assert (await ask(node, "eth_chainId"))["result"] == "0x7a69"
