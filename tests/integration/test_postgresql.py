"""The commands over a journal on PostgreSQL, and several daemons on one: real processes on a real server."""

import asyncio
import re
import signal
from pathlib import Path

import pytest
from command import listener, quickly, running
from following import BLOCKS, Following, following, write_config
from postgres import Server, change, query

from listener.config import Url
from listener.devnet.accounts import ACCOUNTS
from listener.devnet.aggregator import Aggregator
from listener.devnet.anvil import Anvil
from listener.devnet.count import count, expected
from listener.devnet.intent_sender import IntentSender
from listener.devnet.network import Network
from listener.testing import FakeNode

STATES = "SELECT DISTINCT state FROM tasks"
SLOW = """
import os
from listener import TaskResult
import asyncio
async def execute(ctx):
    with open("{folder}/begun", "a") as begun:
        begun.write(str(os.getpid()) + " " + str(ctx.trigger.block_number) + chr(10))
    while not os.path.exists("{folder}/release"):
        await asyncio.sleep(0.01)
    return TaskResult(str(ctx.trigger.block_number))
"""


def config_of(folder: Path, node: FakeNode, aggregator: Aggregator, database: Url, rules: str = BLOCKS) -> Path:
    place = database.get_secret_value()
    return write_config(folder, [node.ws_url], rules, aggregator=aggregator.url, journal=place)


def slow_config(folder: Path, node: FakeNode, aggregator: Aggregator, database: Url) -> Path:
    """Its handler says who runs it, and runs until there is a file ``release``."""
    (folder / "slow.py").write_text(SLOW.format(folder=folder))
    rules = BLOCKS.replace("tasks.block_report", "slow") + "timeout_s = 300\n"
    return config_of(folder, node, aggregator, database, rules)


def begun(folder: Path) -> list[list[str]]:
    path = folder / "begun"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


async def test_the_main_job_is_done_and_the_commands_show_it(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path, database: Url
) -> None:
    config = config_of(tmp_path, node, aggregator, database)
    async with following(config) as running_here:
        await running_here.walked(10)
        await node.mine()
        await running_here.until(lambda: running_here.states() == [(11, "accepted")])
    listed = await quickly("tasks", "list", "--json", config=config)
    assert [(task["block_number"], task["state"], task["sends"]) for task in listed.objects] == [(11, "accepted", 1)]
    shown = await quickly("tasks", "show", "1", "--json", config=config)
    assert shown.objects == listed.objects
    chains = await quickly("chains", "list", "--json", config=config)
    assert [(chain["name"], chain["cursor"], chain["state"]) for chain in chains.objects] == [("l2", 11, "following")]
    assert not (tmp_path / "listener.db").exists()


async def test_a_reorg_is_seen_through_on_postgresql_too(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path, database: Url
) -> None:
    config = config_of(tmp_path, node, aggregator, database)
    await aggregator.close()
    async with following(config) as running_here:
        await running_here.walked(10)
        await node.mine()
        await node.mine()
        await running_here.until(lambda: [state for _, state in running_here.states()] == ["ready"] * 2)
        await running_here.until(lambda: all(row["sends"] for row in running_here.rows))
        node.chain.fork(1)
        await node.mine(count=2)
        await running_here.until(lambda: len(running_here.rows) == 4)
        await running_here.walked(13)
        assert [bool(row["orphaned"]) for row in running_here.rows] == [False, True, False, False]
        await aggregator.start()
        await running_here.until(lambda: running_here.states().count((12, "accepted")) == 1)
        await running_here.until(lambda: running_here.states()[::3] == [(11, "accepted"), (13, "accepted")])
        assert (12, "ready") in running_here.states(), "an orphan rests"


@pytest.mark.parametrize("words", [("tasks", "list"), ("chains", "list"), ("run",)])
async def test_a_database_that_is_not_there_is_one_line_and_exit_1(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path, postgresql: Server, words: tuple[str, ...]
) -> None:
    missing = postgresql.url("nowhere", password="never-shown-9")  # noqa: S106 - no secret of ours
    answer = await listener(*words, config=config_of(tmp_path, node, aggregator, missing))
    assert answer.code == 1
    assert answer.out == ""
    (line,) = answer.err.splitlines()
    assert line.startswith("listener: journal postgresql:///nowhere: ")
    assert 'database "nowhere" does not exist' in line
    assert "never-shown-9" not in answer.err


async def test_a_wrong_password_is_one_line_that_does_not_hold_it(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path, postgresql: Server, database: Url
) -> None:
    postgresql.execute("DROP ROLE IF EXISTS bob", "CREATE ROLE bob LOGIN PASSWORD 'the-right-one-7'")
    name = database.redacted.rsplit("/", 1)[1]
    with postgresql.asking("bob"):
        wrong = postgresql.url(name, "bob", "never-shown-9")
        answer = await listener("run", config=config_of(tmp_path, node, aggregator, wrong))
        assert answer.code == 1
        (line,) = answer.err.splitlines()
        assert 'password authentication failed for user "bob"' in line
        assert "never-shown-9" not in answer.err
        right = postgresql.url(name, "bob", "the-right-one-7")
        answer = await quickly("tasks", "list", config=config_of(tmp_path, node, aggregator, right))
        assert (answer.code, answer.err.count("\n")) == (1, 1)
        assert "permission denied" in answer.err


async def test_a_server_that_is_down_is_waited_for_at_start_and_not_by_a_listing(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    with Server() as server, server.database() as database:
        config = config_of(tmp_path, node, aggregator, database)
        await asyncio.to_thread(server.stop)
        answer = await quickly("tasks", "list", config=config)
        assert answer.code == 1
        assert answer.err.startswith("listener: journal postgresql:///journal_1: connection is bad: ")
        assert answer.err.count("\n") == 1
        async with running(config) as run:
            await run.logged("journal.unreachable")
            await asyncio.to_thread(server.start)
            await run.logged("chain.begun")
            await asyncio.to_thread(server.stop, "immediate")
            await node.mine()
            await asyncio.to_thread(server.start)
            await run.logged("journal.reconnected")
            await run.until(lambda: [call.proof_of_task for call in aggregator.accepted] != [])
            run.process.send_signal(signal.SIGTERM)
            assert await run.ended() == 0
        assert Following(config).states() == [(11, "accepted")]


async def test_rewinding_is_refused_while_a_daemon_runs_and_done_when_none_does(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path, database: Url
) -> None:
    config = config_of(tmp_path, node, aggregator, database)
    async with running(config) as run:
        await run.logged("chain.begun")
        await node.mine()
        await run.logged("task.accepted")
        answer = await listener("chains", "rewind", "l2", "--to", "5", config=config)
        assert answer.code == 1
        assert f"in use by listener {run.process.pid} on" in answer.err
        assert Following(config).cursor == 11
    answer = await listener("chains", "rewind", "l2", "--to", "5", config=config)
    assert answer.code == 0, answer.err
    assert answer.out.startswith("chain l2: goes on after block 5")
    assert Following(config).cursor == 5


# Several daemons


async def test_a_stopped_daemons_tasks_are_the_others_at_once(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path, database: Url
) -> None:
    config = slow_config(tmp_path, node, aggregator, database)
    async with running(config, name="one") as one:
        await one.logged("chain.begun")
        await node.mine()
        await one.until(lambda: begun(tmp_path))
        async with running(config, name="two") as two:
            await two.logged("daemon.started")
            one.process.send_signal(signal.SIGTERM)
            await one.logged("daemon.stopping")
            one.process.send_signal(signal.SIGTERM)
            assert await one.ended() == 1
            await two.until(lambda: len(begun(tmp_path)) == 2)
            (tmp_path / "release").touch()
            await two.until(lambda: len(aggregator.accepted) == 1)
    assert [row["attempts"] for row in Following(config).rows] == [1]
    assert [who for who, _ in begun(tmp_path)] == [str(one.process.pid), str(two.process.pid)]


async def test_two_daemons_of_which_one_is_killed_miss_nothing_and_double_nothing(
    anvil: Anvil, aggregator: Aggregator, tmp_path: Path, database: Url
) -> None:
    network = Network(anvil, await IntentSender.deploy(anvil), aggregator)
    first = await anvil.head() + 1
    config = network.write_config(tmp_path, start=first)
    shared = config.read_text().replace("sqlite:///listener.db", database.get_secret_value())
    config.write_text(re.sub("(?m)^bind = .*", 'bind = "127.0.0.1:0"', shared))  # of each its own
    last = first
    killed_at = 0

    async with running(config, name="one") as one, running(config, name="two") as two:
        for run in (one, two):
            await run.logged("daemon.started")
        for index in range(40):
            for _ in range(3):
                await network.intent_sender.send(10, ACCOUNTS[1].address, bytes([index]))
            last = await anvil.mine()
            await asyncio.sleep(0.02)
            if index == 20:
                one.process.kill()
                await one.ended()
                killed_at = last
        blocks = [await anvil.block(number) for number in range(first, last + 1)]
        events = await network.intent_sender.events(from_block=first, to_block=last)
        triggers = expected(blocks, events)
        await two.until(lambda: len({call.digest for call in aggregator.accepted}) >= len(triggers))
        await two.until(lambda: {row["state"] for row in query(database, STATES)} == {"accepted"})
        two.process.send_signal(signal.SIGTERM)
        assert await two.ended() == 0
        assert "Traceback" not in one.text + two.text
    rows = query(database, "SELECT * FROM tasks ORDER BY id")
    counted = count(triggers, [call.proof_of_task for call in aggregator.accepted])
    assert (counted.missed, counted.doubled, counted.stray, counted.triggers) == ((), 0, 0, len(rows))
    # What the killed one had in hand was executed or sent again; everything else once.
    again = {refusal.params[0] for refusal in aggregator.refused}
    taken = [row for row in rows if row["attempts"] > 1 or row["proof_of_task"] in again]
    assert all(row["block_number"] <= killed_at for row in taken)
    assert all("MessageAlreadySigned" in refusal.message for refusal in aggregator.refused)
    assert len({row["digest"] for row in rows}) == len(rows)


async def test_what_a_killed_daemon_had_in_hand_is_taken_over_when_its_claims_have_ended(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path, database: Url
) -> None:
    config = slow_config(tmp_path, node, aggregator, database)
    async with running(config, name="one") as one, running(config, name="two") as two:
        for run in (one, two):
            await run.logged("daemon.started")
        await one.until(lambda: Following(config).cursor == 10)
        await node.mine()
        await one.until(lambda: begun(tmp_path))
        ((who, _),) = begun(tmp_path)
        dead, left = (one, two) if who == str(one.process.pid) else (two, one)
        dead.process.kill()
        await dead.ended()
        (row,) = query(database, "SELECT * FROM tasks")
        assert (row["state"], row["attempts"]) == ("running", 1), "nobody takes it before its time"
        change(database, "UPDATE tasks SET claimed_until = 0")  # as fifteen seconds later
        await left.logged("claims.taken_over")
        await left.until(lambda: len(begun(tmp_path)) == 2)
        (tmp_path / "release").touch()
        await left.until(lambda: len(aggregator.accepted) == 1)
        await left.logged("task.accepted")
    (row,) = query(database, "SELECT * FROM tasks")
    assert (row["state"], row["attempts"], row["claimant"]) == ("accepted", 2, None)
    assert begun(tmp_path)[1][0] == str(left.process.pid)
