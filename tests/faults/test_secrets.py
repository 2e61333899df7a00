"""Whatever fails, and whoever repeats our secrets to us: none of them is logged, journaled or shown."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from aiohttp import web
from command import listener, quickly, running
from following import BLOCKS, Following, write_config

from listener.devnet.accounts import PERFORMER
from listener.testing import FakeAggregator, FakeNode, Fault, NodeError

PATH_KEY = "c0ffee00c0ffee00c0ffee00c0ffee00"
PASSWORD = "correct-horse-battery"  # noqa: S105 - of nobody
SECRETS = (PATH_KEY, PASSWORD, PERFORMER.private_key[2:])
TELLS = """
import asyncio, pathlib, threading, warnings
def fails():
    raise OSError("http://user:{password}@127.0.0.1/v3/{path_key} is away")
async def execute(ctx):
    asyncio.get_running_loop().call_soon(fails)
    threading.Thread(target=fails).start()
    warnings.warn("no answer from http://user:{password}@127.0.0.1/v3/{path_key}", stacklevel=1)
    if ctx.attempt == 1:
        raise RuntimeError("the key is " + pathlib.Path("{folder}/performer.key").read_text())
    ctx.log.warning("handler.tells", url="http://user:{password}@127.0.0.1/{path_key}")
    raise RuntimeError("http://user:{password}@127.0.0.1/v3/{path_key} said no")
"""
RULES = (
    BLOCKS
    + """
[[rules]]
name = "tells"
task = "tells"
task_definition_id = 9
trigger = { type = "block", chain = "l2", every = 1 }
max_attempts = 2
"""
)


def leaks(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret.lower() in text.lower()]


async def test_no_secret_leaves_by_any_failure(node: FakeNode, fake: FakeAggregator, tmp_path: Path) -> None:
    (tmp_path / "tells.py").write_text(TELLS.format(folder=tmp_path, password=PASSWORD, path_key=PATH_KEY))
    http = f"http://user:{PASSWORD}@127.0.0.1:{node.port}/v3/{PATH_KEY}"
    ws = f"ws://user:{PASSWORD}@127.0.0.1:{node.port}/v3/{PATH_KEY}"
    written = write_config(
        tmp_path,
        [ws, http],
        RULES,
        aggregator=f"http://user:{PASSWORD}@127.0.0.1:{fake.port}/{PATH_KEY}",
        more='[logs]\nlevel = "debug"\nformat = "json"\n',
    )
    told = 0

    async def before(method: str, _params: list[Any]) -> None:
        nonlocal told
        if method == "eth_getBlockByNumber" and told < 6:
            told += 1
            raise NodeError(-32000, f"project {PATH_KEY}: too many requests for {http}")

    fake.faults += [
        Fault.error(-32603, f"upstream http://user:{PASSWORD}@h/{PATH_KEY} failed"),
        Fault.answered(502, f"<html>{PATH_KEY}</html>".encode()),
        Fault.cut(),
    ]
    async with running(written) as run:
        await run.logged("chain.begun")
        node.before = before
        await node.hang_up(1011)
        await node.mine(count=2)
        await run.until(lambda: len(fake.accepted) == 2 and told == 6)
        await run.logged("task.failed")
        node.before = None
        node.http = web.Response(status=429, body=f"key {PATH_KEY} is used up".encode())
        node.reset()
        await node.mine()
        await run.until(lambda: len(fake.accepted) == 3)
        await run.until(lambda: run.events().count("task.failed") == 3)
        text = run.text
    with closing(sqlite3.connect(Following(written).path)) as connection:
        dump = "\n".join(connection.iterdump())
    shown = await quickly("tasks", "list", "--json", config=written)
    chains = await quickly("chains", "list", "--json", config=written)
    assert {"handler.tells", "library.complained", "thread.failed"} <= set(run.events())
    assert [leaks(each) for each in (text, dump, shown.out + shown.err, chains.out + chains.err)] == [[], [], [], []]


async def test_no_secret_leaves_by_a_refusal_at_start(tmp_path: Path) -> None:
    written = write_config(tmp_path, [f"ws://user:{PASSWORD}@127.0.0.1:9/{PATH_KEY}"], BLOCKS)
    good = written.read_text()
    key = tmp_path / "performer.key"
    for broken in (
        good.replace("chain_id = 31337", 'chain_id = "x"'),
        good.replace("ws://", "gopher://"),
        good.replace('"sqlite:///listener.db"', f'"mysql://user:{PASSWORD}@h/{PATH_KEY}"'),
        good.replace('{ file = "performer.key" }', f'"{PERFORMER.private_key}x"'),
    ):
        written.write_text(broken)
        answer = await quickly("run", config=written)
        assert (answer.code, leaks(answer.out + answer.err), answer.err.count("Traceback")) == (2, [], 0)
    written.write_text(good)
    key.chmod(0o644)
    answer = await quickly("run", config=written)
    assert (answer.code, leaks(answer.err), "chmod 600" in answer.err) == (2, [], True)
    key.chmod(0o600)
    written.write_text(good.replace("[performer]\n", f'[performer]\naddress = "{"0x" + "11" * 20}"\n'))
    answer = await listener("run", config=written)
    assert (answer.code, leaks(answer.err)) == (2, [])
