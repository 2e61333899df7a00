"""A real chain and an aggregator behind lines that break: the gap is filled in order, and nothing is sent twice."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from following import BLOCKS, Following, following, write_config

from listener.devnet.accounts import ACCOUNTS
from listener.devnet.anvil import Anvil
from listener.devnet.intent_sender import IntentSender
from listener.testing import FakeAggregator, Proxy

INTENTS = """
[[rules]]
name = "intents"
task = "tasks.intent"
task_definition_id = 0
trigger = { type = "event", contract = "intent_sender", event = "IntentSent" }
"""
Breaking = Callable[[Proxy], Awaitable[None]]


@pytest.fixture
async def quiet_anvil() -> AsyncIterator[Anvil]:
    async with Anvil(mining=False) as chain:
        yield chain


async def cut(line: Proxy) -> None:
    line.cut()


async def reset(line: Proxy) -> None:
    line.reset()


async def silent(line: Proxy) -> None:
    line.silent = True


async def refused(line: Proxy) -> None:
    await line.refuse()
    line.reset()


async def throttled(line: Proxy) -> None:
    line.delay_s, line.bytes_per_s = 0.01, 100_000


async def mend(line: Proxy) -> None:
    line.delay_s, line.bytes_per_s = 0.0, None
    if line.silent:  # what was swallowed is lost: such a line can only be broken
        line.silent = False
        line.reset()
    await line.listen()


async def intents(sender: IntentSender, blocks: int) -> None:
    for _ in range(blocks):
        await sender.send_many(2, 10, ACCOUNTS[1].address, b"")
        await sender.anvil.mine()


def accepted(daemon: Following) -> list[tuple[int, int]]:
    return [
        (row["block_number"], row["log_index"])
        for row in daemon.rows
        if (row["rule"], row["state"]) == ("intents", "accepted")
    ]


@pytest.mark.parametrize("breaking", [cut, reset, silent, refused, throttled])
async def test_the_gap_of_a_broken_line_to_the_chain_is_filled_in_order(
    quiet_anvil: Anvil, fake: FakeAggregator, tmp_path: Path, breaking: Breaking
) -> None:
    sender = await IntentSender.deploy(quiet_anvil)
    async with Proxy(quiet_anvil.port) as line:
        config = write_config(
            tmp_path,
            [line.ws_url, line.http_url],
            INTENTS + BLOCKS,
            chain='start = "latest"\nsilence = "2s"',
            aggregator=fake.url,
            intent_sender=sender.address,
        )
        async with following(config) as daemon:
            first = await quiet_anvil.head() + 1
            await daemon.walked(first - 1)
            await intents(sender, 2)
            await daemon.walked(first + 1)
            await breaking(line)
            await intents(sender, 5)
            await mend(line)
            await intents(sender, 1)
            expected = [(first + offset, index) for offset in range(8) for index in range(2)]
            await daemon.until(lambda: sorted(accepted(daemon)) == expected)
            assert [row["block_number"] for row in daemon.rows] == sorted(row["block_number"] for row in daemon.rows)
            assert fake.differing() == {}
            assert len(fake.accepted) == len(daemon.rows) == 8 * 3


@pytest.mark.parametrize("kept", [True, False], ids=["moved", "dropped"])
async def test_a_reorg_behind_a_broken_line_is_one_reorg_when_it_is_mended(
    quiet_anvil: Anvil, fake: FakeAggregator, tmp_path: Path, *, kept: bool
) -> None:
    sender = await IntentSender.deploy(quiet_anvil)
    async with Proxy(quiet_anvil.port) as line:
        config = write_config(
            tmp_path,
            [line.ws_url, line.http_url],
            INTENTS,
            aggregator=fake.url,
            intent_sender=sender.address,
        )
        async with following(config) as daemon:
            first = await quiet_anvil.head() + 1
            await daemon.walked(first - 1)
            await intents(sender, 1)
            await daemon.until(lambda: accepted(daemon) == [(first, 0), (first, 1)])
            await refused(line)
            (sent,) = (await quiet_anvil.block(first))["transactions"]
            raw = await quiet_anvil.call("eth_getRawTransactionByHash", sent)
            await quiet_anvil.mine()
            await quiet_anvil.reorg(2, [(raw, 1)] if kept else [])  # anvil drops what the old blocks held
            await quiet_anvil.mine(2)
            await mend(line)
            await daemon.walked(first + 3)
            states = [(row["block_number"], row["state"], row["orphaned"]) for row in daemon.rows]
            orphans = [(first, "accepted", 1)] * 2
            assert states == orphans + ([(first + 1, "skipped", 0)] * 2 if kept else [])
            assert len(fake.accepted) == 2


@pytest.mark.parametrize("breaking", [cut, reset, silent, refused, throttled])
async def test_a_broken_line_to_the_aggregator_doubles_nothing(
    quiet_anvil: Anvil, fake: FakeAggregator, tmp_path: Path, breaking: Breaking
) -> None:
    async with Proxy(fake.port) as line:
        config = write_config(tmp_path, [quiet_anvil.ws_url], BLOCKS, aggregator=line.http_url)
        config.write_text(config.read_text().replace(f'"{line.http_url}"\n', f'"{line.http_url}"\ntimeout_s = 0.3\n'))
        async with following(config) as daemon:
            await daemon.walked(0)
            await quiet_anvil.mine(5)
            await daemon.walked(5)
            await breaking(line)
            await quiet_anvil.mine(20)
            await daemon.walked(25)
            await mend(line)
            await daemon.until(lambda: [state for _, state in daemon.states()] == ["accepted"] * 25)
            assert fake.differing() == {}
            assert len(fake.accepted) == 25
            assert [row["already_known"] for row in daemon.rows] == [0] * 25
