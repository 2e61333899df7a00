"""The commands of the local network, as a user types them."""

import asyncio
import json
import os
import re
import signal
import stat
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from listener.devnet import accounts, child
from listener.devnet.aggregator import Aggregator
from listener.devnet.anvil import Anvil
from listener.devnet.intent_sender import IntentSender
from listener.devnet.network import Network

COUNTED = {"missed": 0, "doubled": 0, "failed": 0}


async def start(*words: str) -> Process:
    return await child.start(sys.executable, "-m", "listener", *words, stdout=PIPE, stderr=PIPE)


async def ended(process: Process) -> list[dict[str, Any]]:
    """Wait for the end and return the objects of stdout."""
    output, errors = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode == 0, errors.decode()
    return [json.loads(line) for line in output.splitlines()]


def summary_of(lines: list[dict[str, Any]]) -> dict[str, Any]:
    assert [line["kind"] for line in lines] == ["task"] * (len(lines) - 1) + ["summary"]
    return lines[-1]


async def daemon_pid(process: Process) -> int:
    assert process.stderr is not None
    while line := (await asyncio.wait_for(process.stderr.readline(), 30)).decode():
        if found := re.match(r"daemon pid (\d+)", line):
            return int(found[1])
    pytest.fail("no daemon was started")


async def test_a_demo_counts_its_blocks_and_every_trigger_once(tmp_path: Path) -> None:
    lines = await ended(
        await start("demo", "--blocks", "12", "--block-time", "0.1", "--json", "--dir", str(tmp_path / "demo"))
    )
    summary = summary_of(lines)
    assert summary | COUNTED == summary
    assert summary["blocks"] == 12
    assert summary["restarts"] == 0
    assert summary["triggers"] == summary["accepted"] == summary["approved"] == len(lines) - 1
    shown = {line["rule"] for line in lines[:-1]}
    assert shown >= {"intents", "every-5-blocks", "epochs", "prices", "health", "keepers", "domains"}
    assert {line["state"] for line in lines[:-1]} == {"accepted"}


async def test_a_killed_daemon_is_started_again_and_nothing_is_missed_or_doubled(tmp_path: Path) -> None:
    demo = await start("demo", "--blocks", "60", "--block-time", "0.1", "--json", "--dir", str(tmp_path))
    for _ in range(2):
        pid = await daemon_pid(demo)
        await asyncio.sleep(1.5)
        os.kill(pid, signal.SIGKILL)
    summary = summary_of(await ended(demo))
    assert summary | COUNTED == summary
    assert summary["blocks"] == 60
    assert summary["restarts"] == 2


async def test_an_interrupt_ends_a_demo_with_its_count(tmp_path: Path) -> None:
    demo = await start("demo", "--block-time", "0.1", "--json", "--dir", str(tmp_path))
    await daemon_pid(demo)
    await asyncio.sleep(2)
    demo.send_signal(signal.SIGINT)
    summary = summary_of(await ended(demo))
    assert summary | COUNTED == summary
    assert summary["blocks"] > 1


async def test_a_folder_with_an_earlier_journal_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "listener.db").touch()
    demo = await start("demo", "--blocks", "1", "--dir", str(tmp_path))
    output, errors = await demo.communicate()
    assert demo.returncode == 2
    assert output == b""
    assert f"{tmp_path} holds the journal of an earlier demo" in errors.decode()


async def test_the_devnet_writes_what_a_daemon_needs_and_ends_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "devnet.json"
    devnet = await start("devnet", "--write", str(file), "--block-time", "0.1")
    try:
        assert devnet.stdout is not None
        assert await asyncio.wait_for(devnet.stdout.readline(), 30) == b"{\n"
        network = json.loads(file.read_text())
        assert network["contracts"]["intent_sender"].startswith("0x")
        assert network["ws"].startswith("ws://127.0.0.1:")
        assert {"http", "aggregator", "chain_id", "performer", "accounts"} < set(network)
    finally:
        devnet.send_signal(signal.SIGTERM)
        await asyncio.wait_for(devnet.communicate(), 20)
    assert devnet.returncode == 0


async def test_a_written_configuration_keeps_the_key_to_its_owner(
    anvil: Anvil, aggregator: Aggregator, tmp_path: Path
) -> None:
    network = Network(anvil, await IntentSender.deploy(anvil), aggregator)
    config = network.write_config(tmp_path, start=2)
    assert stat.S_IMODE((tmp_path / "performer.key").stat().st_mode) == 0o600
    check = await start("check", "--offline", "--config", str(config))
    output, errors = await check.communicate()
    assert check.returncode == 0, output.decode() + errors.decode()


async def test_the_known_accounts_are_those_of_anvil(anvil: Anvil) -> None:
    assert [account.address for account in accounts.ACCOUNTS] == list(anvil.accounts)
    for account in accounts.ACCOUNTS:
        assert Account.from_key(account.private_key).address == account.address
