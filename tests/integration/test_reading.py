"""What a handler reads through ``ctx.w3``: its trigger's own block, however the chain has moved on."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from following import BLOCKS, following, write_config

from listener.devnet.accounts import ACCOUNTS
from listener.devnet.aggregator import Aggregator
from listener.devnet.anvil import Anvil
from listener.testing import FakeNode

READS = '''
"""Reports what it reads as its proof, in JSON."""
import asyncio
import json
from listener import TaskResult
RICH = "{rich}"
COUNTER = "{counter}"
async def execute(ctx):
    number = ctx.trigger.block_number
    seen = dict(
        number=number,
        balance=await ctx.w3.eth.get_balance(RICH),
        nonce=await ctx.w3.eth.get_transaction_count(RICH),
        code=len(await ctx.w3.eth.get_code(COUNTER)),
        slot=int((await ctx.w3.eth.get_storage_at(COUNTER, 0)).hex(), 16),
        called=int((await ctx.w3.eth.call({{"to": COUNTER}})).hex() or "0", 16),
        latest=(await ctx.w3.eth.get_block("latest"))["number"],
        before=await ctx.at(number - 1).eth.get_balance(RICH),
        named=await ctx.w3.eth.get_balance(RICH, block_identifier=number - 1),
        chain=await ctx.w3.eth.chain_id,
    )
    return TaskResult(json.dumps(seen))
'''
# Counts how often it was sent something: with value it adds one to slot 0, without it returns slot 0.
COUNTER = (
    "601a600c600039601a6000f3"  # deploy what follows
    "34600f57"  # with value go to 0f
    "60005460005260206000f3"  # return slot 0
    "5b60005460010160005500"  # add one to slot 0
)


def rule(name: str = "reads") -> str:
    return BLOCKS.replace("tasks.block_report", name).replace('"blocks"', f'"{name}"')


async def test_every_read_is_pinned_to_the_block_of_the_trigger(aggregator: Aggregator, tmp_path: Path) -> None:
    async with Anvil(mining=False) as anvil:
        rich, other = ACCOUNTS[4].address, ACCOUNTS[5].address
        counter = await anvil.deploy({"bytecode": COUNTER})
        (tmp_path / "reads.py").write_text(READS.format(rich=rich, counter=counter))
        config = write_config(
            tmp_path, [anvil.ws_url], rule() + "confirmations = 4\n", aggregator=aggregator.url, chain="start = 2"
        )
        expected = []
        for _ in range(3):
            for to in (counter, other):
                await anvil.call("eth_sendTransaction", {"from": rich, "to": to, "value": hex(10**18)})
            number = await anvil.mine()
            balance = int(await anvil.call("eth_getBalance", rich, "latest"), 16)
            expected.append((number, balance))
        await anvil.mine(10)
        async with following(config) as daemon:
            await daemon.until(lambda: len(aggregator.accepted) == 9, daemon.rows)
    seen = {item["number"]: item for item in (json.loads(call.proof_of_task) for call in aggregator.accepted)}
    before = 10_000 * 10**18
    for count, (number, balance) in enumerate(expected, start=1):
        assert seen[number] == {
            "number": number,
            "balance": balance,
            "nonce": 2 * count,
            "code": 26,
            "slot": count,
            "called": count,
            "latest": number,
            "before": before,
            "named": before,
            "chain": 31337,
        }
        before = balance


async def test_a_read_at_a_block_that_is_gone_fails_and_is_never_signed(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    (tmp_path / "reads.py").write_text(
        "from listener import TaskResult\n"
        "async def execute(ctx):\n"
        "    return TaskResult(str(await ctx.w3.eth.get_balance(ctx.performer)))\n"
    )

    async def gone(method: str, params: list[Any]) -> Any:
        if method == "eth_getBalance":
            assert params[1] == {"blockHash": "0x" + node.chain.blocks[11].hash.hex()}
            from listener.testing import NodeError  # noqa: PLC0415

            raise NodeError(-32000, "header not found")
        return None

    node.before = gone
    config = write_config(tmp_path, [node.ws_url], rule() + "max_attempts = 1\n", aggregator=aggregator.url)
    async with following(config) as daemon:
        await daemon.walked(10)
        await node.mine()
        await daemon.until(lambda: daemon.states() == [(11, "failed")])
    assert "header not found" in daemon.rows[0]["error"]
    assert aggregator.accepted == []


@pytest.mark.parametrize("transport", ["ws", "http"])
async def test_a_burst_of_heads_and_of_calls_inside_handlers_is_no_deadlock(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path, transport: str
) -> None:
    (tmp_path / "reads.py").write_text(
        "import asyncio\n"
        "from listener import TaskResult\n"
        "async def execute(ctx):\n"
        "    w3 = ctx.w3\n"
        "    await asyncio.gather(*(w3.eth.get_balance(ctx.performer) for _ in range(3)))\n"
        "    return TaskResult(str(ctx.trigger.block_number))\n"
    )

    async def balance(method: str, _params: list[Any]) -> str | None:
        return "0x5" if method == "eth_getBalance" else None

    node.before = balance
    url = node.ws_url if transport == "ws" else node.http_url
    async with following(write_config(tmp_path, [url], rule(), aggregator=aggregator.url)) as daemon:
        await daemon.walked(10)
        await node.mine(count=400)
        await daemon.until(lambda: len(aggregator.accepted) == 400)
    assert node.count("eth_getBalance") == 1_200
    assert node.connections == (1 if transport == "ws" else 0)


async def test_a_handler_that_blocks_its_loop_delays_neither_following_nor_sending(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    release = tmp_path / "release"
    (tmp_path / "reads.py").write_text(
        "import os, time\n"
        "from listener import TaskResult\n"
        "async def execute(ctx):\n"
        "    while ctx.trigger.block_number == 14 and not os.path.exists(ctx.settings.path):\n"
        "        time.sleep(0.01)\n"
        "    return TaskResult(str(ctx.trigger.block_number))\n"
        "from pydantic import BaseModel\n"
        "class Settings(BaseModel):\n"
        "    path: str\n"
    )
    rules = rule() + f'settings = {{ path = "{release}" }}\n'
    held = asyncio.Event()

    async def hold(_request: Any) -> None:
        await held.wait()

    aggregator.before = hold
    async with following(write_config(tmp_path, [node.ws_url], rules, aggregator=aggregator.url)) as daemon:
        await daemon.walked(10)
        await node.mine(count=3)
        await daemon.until(lambda: daemon.states() == [(n, "ready") for n in (11, 12, 13)])
        await node.mine()
        await daemon.until(lambda: (14, "running") in daemon.states())
        try:
            held.set()
            await daemon.until(lambda: len(aggregator.accepted) == 3)
            await node.mine(count=5)
            await daemon.walked(19)
            assert daemon.states()[3] == (14, "running")
        finally:
            release.touch()
        await daemon.until(lambda: len(aggregator.accepted) == 9)
