"""
The daemon's real parts in this process, over a real ``config.toml``: what the tests of this folder share.

Rows are read from the file as any other program would read them.
"""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import postgres
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from listener import app, handlers
from listener.config import Url, load, matchers
from listener.devnet.accounts import PERFORMER
from listener.devnet.attestation import Call
from listener.devnet.intent_sender import artifact
from listener.testing import Emitted
from listener.web import Server

JOURNAL = "sqlite:///listener.db"  # the fixture either_journal puts others in its place
LIMIT_S = 20.0  # for what takes milliseconds: only a failure waits so long
CONTRACT = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
PING_ABI = [
    {
        "type": "event",
        "name": "Ping",
        "anonymous": False,
        "inputs": [
            {"name": "channel", "type": "uint256", "indexed": True},
            {"name": "value", "type": "uint256", "indexed": False},
        ],
    }
]
PING = keccak(text="Ping(uint256,uint256)")

PINGS = """
[[rules]]
name = "pings"
task = "echo"
task_definition_id = 0
trigger = { type = "event", contract = "ping", event = "Ping" }
"""
BLOCKS = """
[[rules]]
name = "blocks"
task = "tasks.block_report"
task_definition_id = 1
trigger = { type = "block", chain = "l2", every = 1 }
"""
ECHO = '''"""Answers any trigger with all that tells it apart."""
from listener import TaskResult
async def execute(ctx):
    event = ctx.trigger.event
    place = "" if event is None else f"+0x{event.transaction_hash.hex()}+{event.log_index}"
    return TaskResult(f"{ctx.trigger.block_number}+0x{ctx.trigger.block_hash.hex()}{place}", b"")
'''


def ping(channel: int = 1, value: int = 0, transaction: str = "t") -> Emitted:
    """A Ping of the contract that every configuration of these tests knows."""
    topics = [PING, encode(["uint256"], [channel])]
    return Emitted(CONTRACT, topics, encode(["uint256"], [value]), transaction)


def write_config(
    folder: Path,
    endpoints: Sequence[str],
    rules: str,
    *,
    chain: str = 'start = "latest"',
    aggregator: str = "http://127.0.0.1:9",  # nobody listens there
    intent_sender: str = CONTRACT,
    journal: str | None = None,
    http: str = "",
    more: str = "",
) -> Path:
    """Write ``config.toml`` and what it names."""
    (folder / "Ping.json").write_text(json.dumps(PING_ABI))
    (folder / "IntentSender.json").write_text(json.dumps(artifact()["abi"]))
    (folder / "echo.py").write_text(ECHO)
    key = folder / "performer.key"
    key.touch(mode=0o600)
    key.write_text(PERFORMER.private_key)
    path = folder / "config.toml"
    path.write_text(
        f'[performer]\nkey = {{ file = "performer.key" }}\n'
        f"[chains.l2]\nendpoints = {json.dumps(list(endpoints))}\nchain_id = 31337\n{chain}\n"
        f'[contracts.ping]\nchain = "l2"\naddress = "{CONTRACT}"\nabi = "Ping.json"\n'
        f'[contracts.intent_sender]\nchain = "l2"\naddress = "{intent_sender}"\nabi = "IntentSender.json"\n'
        f'[aggregator]\nurl = "{aggregator}"\n'
        f'[http]\nbind = "127.0.0.1:0"\n{http}\n'
        f'[journal]\nurl = "{journal or JOURNAL}"\n{more}\n{rules}'
    )
    return path


class Following:
    """A running daemon, or only its followers."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.path = config.with_name("listener.db")
        self.place = load(config, {}).journal.place
        self.serving: asyncio.Task[None] | None = None
        self.url = ""  # of the HTTP server

    async def until(self, condition: Callable[[], Any], what: str = "") -> None:
        """Wait until something is so; fail when it is not in time, or when a stage has died."""
        last: Any = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIMIT_S):
                while True:
                    last = condition()
                    if last:
                        return
                    if self.serving is not None and self.serving.done():
                        self.serving.result()
                    await asyncio.sleep(0.01)
        raise AssertionError(f"not within {LIMIT_S:.0f} s: {what or condition}; the rows are {self.brief()}")

    async def walked(self, number: int) -> None:
        """Wait until the cursor is on a block, or beyond it."""
        await self.until(lambda: self.cursor >= number, f"cursor at {number}, it is at {self.cursor}")

    async def stay(self, number: int) -> None:
        """Make sure that the cursor is on a block and has no reason to move."""
        await self.walked(number)
        await asyncio.sleep(0.1)
        assert self.cursor == number

    def query(self, sql: str) -> list[dict[str, Any]]:
        if isinstance(self.place, Url):
            return postgres.query(self.place, sql)
        if not self.path.exists():
            return []
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            connection.row_factory = sqlite3.Row
            try:
                return [dict(row) for row in connection.execute(sql)]
            except sqlite3.OperationalError:  # its tables are not made yet
                return []

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self.query("SELECT * FROM tasks ORDER BY id")

    def brief(self) -> list[tuple[Any, ...]]:
        """Each row as (rule, block, log index, state)."""
        return [(row["rule"], row["block_number"], row["log_index"], str(row["state"])) for row in self.rows]

    def states(self, rule: str | None = None) -> list[tuple[int, str]]:
        """Each row of a rule as (block, state)."""
        return [(row["block_number"], str(row["state"])) for row in self.rows if rule in {None, row["rule"]}]

    @property
    def chain(self) -> dict[str, Any]:
        found = self.query("SELECT * FROM chains WHERE name = 'l2'")
        return found[0] if found else {"number": -2, "halted": None, "hash": b""}

    @property
    def cursor(self) -> int:
        number: int = self.chain["number"]
        return number


@asynccontextmanager
async def following(config: Path, *only: str, attests: bool = False) -> AsyncIterator[Following]:
    """Run the stages whose names begin with one of ``only``, all when none is given, until the block ends."""
    running = Following(config)
    settings = load(config, {})
    stop = asyncio.Event()
    async with AsyncExitStack() as edges:
        found = handlers.load(settings.rules, config.parent)
        stages = await app.build(settings, matchers(settings), found, edges, attests=attests)
        running.url = next(stage.url for stage in stages if isinstance(stage, Server))
        stages = [stage for stage in stages if not only or stage.name.startswith(only)]
        running.serving = asyncio.create_task(app.serve(stages, stop))
        try:
            yield running
        finally:
            stop.set()
            await running.serving


@asynccontextmanager
async def attending(config: Path) -> AsyncIterator[str]:
    """Run an attester's stages until the block ends; gives its URL."""
    settings = load(config, {}, performs=False)
    stop = asyncio.Event()
    async with AsyncExitStack() as edges:
        found = handlers.load(settings.rules, config.parent)
        stages = await app.attend(settings, matchers(settings), found, edges)
        serving = asyncio.create_task(app.serve(stages, stop))
        try:
            yield next(stage.url for stage in stages if isinstance(stage, Server))
        finally:
            stop.set()
            await serving


async def vote(url: str, call: Call, *, data: bytes | None = None) -> Any:
    """Ask an attester about an accepted task, with its own data or with other data; True or False is a vote."""
    body = {
        "proofOfTask": call.proof_of_task,
        "data": f"0x{(call.data if data is None else data).hex()}",
        "taskDefinitionId": call.task_definition_id,
        "performer": call.performer,
    }
    async with aiohttp.ClientSession() as session, session.post(f"{url}/task/validate", json=body) as response:
        return (await response.json())["data"]
