"""``listener run`` as a process: how it starts, what it logs, and how it ends."""

import asyncio
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from command import Run, listener, quickly, running
from following import BLOCKS, PINGS, Following, ping, write_config

from listener.devnet.accounts import PERFORMER
from listener.devnet.aggregator import Aggregator
from listener.testing import FakeNode, NodeError

SLOW = """
import asyncio, os
from listener import TaskResult
async def execute(ctx):
    open("{folder}/begun", "w").close()
    while not os.path.exists("{folder}/release"):
        await asyncio.sleep(0.01)
    return TaskResult(str(ctx.trigger.block_number))
"""


def slow_config(folder: Path, node: FakeNode, aggregator: Aggregator) -> Path:
    """Its handler runs until there is a file ``release``."""
    (folder / "slow.py").write_text(SLOW.format(folder=folder))
    rules = BLOCKS.replace("tasks.block_report", "slow") + "timeout_s = 300\n"
    return write_config(folder, [node.ws_url], rules, aggregator=aggregator.url)


async def in_hand(run: Run, node: FakeNode, folder: Path) -> None:
    """Wait until the handler has a task in hand."""
    await run.logged("chain.begun")
    await node.mine()
    await run.until((folder / "begun").exists)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_while_it_still_loads_ends_it_with_exit_0(
    node: FakeNode, tmp_path: Path, number: signal.Signals
) -> None:
    config = write_config(tmp_path, [node.ws_url], PINGS.replace("echo", "slow"))
    (tmp_path / "slow.py").write_text(
        "import pathlib, time\n"
        "(pathlib.Path(__file__).parent / 'loading').touch()\n"
        "time.sleep(60)\n"
        "async def execute(ctx): ...\n"
    )
    async with running(config) as run:
        await run.until((tmp_path / "loading").exists)
        run.process.send_signal(number)
        assert await run.ended() == 0
        assert run.text == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_it_finish_what_is_in_hand_and_exit_0(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path, number: signal.Signals
) -> None:
    config = slow_config(tmp_path, node, aggregator)
    async with running(config) as run:
        await in_hand(run, node, tmp_path)
        run.process.send_signal(number)
        await run.logged("daemon.stopping")
        await node.mine()  # nothing new is begun
        assert aggregator.accepted == []
        (tmp_path / "release").touch()
        assert await run.ended() == 0
    # Signed and durable; whether the send still began is the next start's business.
    assert Following(config).states() in ([(11, "ready")], [(11, "accepted")])
    assert [row["attempts"] for row in Following(config).rows] == [1]
    assert run.events()[-1] == "daemon.stopped"
    assert "Traceback" not in run.text
    async with running(config) as run:
        await run.until(lambda: [call.proof_of_task for call in aggregator.accepted] == ["11", "12"])


async def test_a_second_signal_cuts_it_short_with_exit_1_and_nothing_is_lost(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    config = slow_config(tmp_path, node, aggregator)
    async with running(config) as run:
        await in_hand(run, node, tmp_path)
        run.process.send_signal(signal.SIGINT)
        await run.logged("daemon.stopping")
        run.process.send_signal(signal.SIGTERM)
        assert await run.ended() == 1
    assert "Traceback" not in run.text
    assert Following(config).states() == [(11, "pending")]
    assert [row["attempts"] for row in Following(config).rows] == [0]
    (tmp_path / "release").touch()
    async with running(config) as run:
        await run.until(lambda: len(aggregator.accepted) == 1)


async def test_a_handler_in_a_thread_does_not_outlive_a_second_signal(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(
        f"import time\ndef execute(ctx):\n    open('{tmp_path}/begun', 'w').close()\n    time.sleep(600)\n"
    )
    rules = BLOCKS.replace("tasks.block_report", "slow")
    async with running(write_config(tmp_path, [node.ws_url], rules, aggregator=aggregator.url)) as run:
        await in_hand(run, node, tmp_path)
        run.process.send_signal(signal.SIGTERM)
        await run.logged("daemon.stopping")
        run.process.send_signal(signal.SIGTERM)
        assert await run.ended() == 1


async def test_a_signal_while_no_endpoint_answers_ends_it_too(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    node.silent = True
    config = write_config(tmp_path, [node.ws_url, node.http_url], BLOCKS, aggregator=aggregator.url)
    async with running(config) as run:
        await run.logged("daemon.started")
        run.process.send_signal(signal.SIGTERM)
        assert await run.ended() == 0
    assert "stage.cut_off" not in run.events()


async def test_a_signal_while_the_aggregator_is_down_leaves_the_task_to_the_next_start(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS, aggregator=aggregator.url)
    await aggregator.close()
    async with running(config) as run:
        await run.logged("chain.begun")
        await node.mine()
        await run.logged("aggregator.unavailable")
        run.process.send_signal(signal.SIGTERM)
        assert await run.ended() == 0
    (before,) = Following(config).rows
    assert before["state"] == "ready"
    await aggregator.start()
    async with running(config) as run:
        await run.logged("task.accepted")
    (call,) = aggregator.accepted
    assert (call.digest, call.signature) == (before["digest"], before["signature"])


async def test_a_handler_still_reads_the_chain_while_it_is_finished_after_a_signal(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    config = slow_config(tmp_path, node, aggregator)
    reads = "    return TaskResult(str((await ctx.w3.eth.get_block(5))['number']))\n"
    slow = tmp_path / "slow.py"
    slow.write_text(slow.read_text().replace("    return TaskResult(str(ctx.trigger.block_number))\n", reads))
    async with running(config) as run:
        await in_hand(run, node, tmp_path)
        run.process.send_signal(signal.SIGTERM)
        await run.logged("daemon.stopping")
        (tmp_path / "release").touch()
        assert await run.ended() == 0
    assert [(row["block_number"], row["proof_of_task"]) for row in Following(config).rows] == [(11, "5")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("chain_id = 31337", "chain_id = 31337\nchian = 1"), 'unknown key "chian"'),
        (('event = "Ping"', 'event = "Pign"'), "no event Pign"),
        (('{ file = "performer.key" }', '{ file = "absent.key" }'), "absent.key"),
    ],
    ids=["key", "event", "secret"],
)
async def test_a_bad_configuration_is_one_line_and_exit_2(
    node: FakeNode, tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    config = write_config(tmp_path, [node.ws_url], PINGS)
    config.write_text(config.read_text().replace(*change))
    answer = await quickly("run", config=config)
    assert answer.code == 2
    assert answer.out == ""
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not config.with_name("listener.db").exists()


async def test_a_second_daemon_on_the_same_journal_is_refused_and_told_who_owns_it(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS, aggregator=aggregator.url)
    async with running(config) as run:
        await run.logged("chain.begun")
        for words in (("run",), ("chains", "rewind", "l2", "--to", "5")):
            answer = await listener(*words, config=config)
            assert answer.code == 1
            assert f"process {run.process.pid} owns it" in answer.err
            assert "Traceback" not in answer.err
        await node.mine()
        await run.logged("task.accepted")


async def test_a_task_that_kills_the_process_ends_as_failed(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    (tmp_path / "deadly.py").write_text(
        "import os\nfrom listener import TaskResult\n"
        "async def execute(ctx):\n"
        "    if ctx.trigger.block_number == 12:\n        os._exit(9)\n"
        "    return TaskResult(str(ctx.trigger.block_number))\n"
    )
    rules = BLOCKS.replace("tasks.block_report", "deadly") + "max_attempts = 2\nconcurrency = 1\n"
    config = write_config(tmp_path, [node.ws_url], rules, aggregator=aggregator.url)
    async with running(config) as run:
        await run.logged("chain.begun")
        await node.mine(count=3)
        assert await run.ended() == 9
    async with running(config) as run:
        assert await run.ended() == 9
    async with running(config) as run:
        await run.until(lambda: Following(config).states() == [(11, "accepted"), (12, "failed"), (13, "accepted")])
    assert "process ended" in Following(config).rows[1]["error"]


async def test_logs_are_json_and_neither_they_nor_the_journal_hold_a_secret(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    secrets = ("hunter2secret", "APIKEY0123456789", "pathtoken0123456789abcdef", PERFORMER.private_key[2:])
    place = f"127.0.0.1:{node.port}/v3/{secrets[2]}?apikey={secrets[1]}"
    send_to = f"http://operator:{secrets[0]}@127.0.0.1:{aggregator.port}/?apikey={secrets[1]}"
    endpoints = [f"ws://operator:{secrets[0]}@{place}", f"http://operator:{secrets[0]}@{place}"]

    async def telling(method: str, _params: list[Any]) -> None:
        if method == "eth_getLogs" and node.count("eth_getLogs") <= 2:
            raise NodeError(-32005, f"key {secrets[1]} of {endpoints[0]} ({secrets[2]}) has had enough")

    node.before = telling
    rules = PINGS + BLOCKS.replace("tasks.block_report", "telling") + "max_attempts = 1\n"
    (tmp_path / "telling.py").write_text(f"async def execute(ctx):\n    raise ValueError('at {endpoints[1]}')\n")
    config = write_config(tmp_path, endpoints, rules, aggregator=send_to, more='[logs]\nlevel = "debug"\n')
    async with running(config) as run:
        await run.logged("chain.begun")
        await node.mine(ping())
        await run.logged("task.accepted")
        await run.logged("task.failed")
        await node.close()
        await aggregator.close()
        node.chain.add(ping())
        await run.logged("websocket.connect_failed")
        await node.start()
        await run.logged("aggregator.unavailable")
        run.process.send_signal(signal.SIGTERM)
        assert await run.ended() == 0
    assert {"endpoint.limited", "websocket.opened", "websocket.lost"} <= set(run.events())
    assert all({"event", "level", "timestamp"} <= set(line) for line in run.lines)
    shown = await quickly("tasks", "list", "--json", config=config)
    with sqlite3.connect(Following(config).path) as connection:
        dump = "\n".join(connection.iterdump())
    connection.close()
    for secret in secrets:
        assert secret not in run.text
        assert secret not in shown.out
        assert secret not in dump


async def test_an_endpoint_of_another_chain_is_named_in_a_warning(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    node.chain_id = 10
    async with running(write_config(tmp_path, [node.ws_url], BLOCKS, aggregator=aggregator.url)) as run:
        await run.logged("endpoint.refused")
        (line,) = [line for line in run.lines if line["event"] == "endpoint.refused"]
        assert line["level"] == "warning"
        assert "it is chain 10, not 31337" in line["reason"]
        run.process.send_signal(signal.SIGTERM)
        assert await run.ended() == 0


async def test_rewinding_is_not_held_up_by_a_head_that_comes_before_the_subscription(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS, aggregator=aggregator.url)
    async with running(config) as run:
        await run.logged("chain.begun")
        run.process.send_signal(signal.SIGTERM)
        assert await run.ended() == 0

    async def early(method: str, _params: list[Any]) -> None:
        if method == "eth_subscribe":
            await node.push(node.chain.head)
            await asyncio.sleep(0.1)

    node.before = early
    answer = await listener("chains", "rewind", "l2", "--to", "5", config=config)
    assert (answer.code, Following(config).cursor) == (0, 5)
