"""
What a history happens to: two scripted nodes on one chain, a scripted aggregator, and the daemon's real parts.

The daemon runs in this process and only while it is let run. A crash is the journal as it was committed at a moment,
put back after the daemon was ended with its line to the aggregator cut: what happened to it since never did.
"""

import asyncio
import contextlib
import shutil
import sqlite3
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from following import Following, write_config

from listener import app, handlers
from listener.config import load, matchers
from listener.testing import FakeAggregator, FakeNode, NodeError, ScriptedChain

FIRST = 11  # the first block whose triggers count
SETTLED_S = 60.0
TURN_S = 0.001
IDLE_TURNS = 40  # without a write, before the daemon is taken for waiting
FOLLOW_TURNS = 15
# Each execution says something else under the same proof: a payload that was made twice shows as two.
ANSWER = """
import asyncio, os
from ground import GATE
from listener import TaskResult
async def execute(ctx):
    while not GATE.is_set():
        await asyncio.sleep(0.001)
    if ctx.key[0] in "01" and ctx.attempt == 1:
        raise RuntimeError("the first attempt of one task in eight fails")
    trigger = ctx.trigger
    event = trigger.event
    cause = trigger.block_number if event is None else f"{event.transaction_hash.hex()}/{event.log_index}"
    return TaskResult(f"{trigger.rule}+{trigger.block_hash.hex()}+{cause}", os.urandom(8))
"""
RULE = """
[[rules]]
name = "{name}"
task = "answer"
task_definition_id = {definition}
max_attempts = 1000
concurrency = 3
on_reorg = "{policy}"
confirmations = {confirmations}
trigger = {trigger}
"""
EVENT = '{ type = "event", contract = "ping", event = "Ping" }'
BLOCK = '{ type = "block", chain = "l2", every = 3 }'
EVERY = 3
RULES = {
    "events-once": (EVENT, "once", 0),
    "events-rerun": (EVENT, "rerun", 0),
    "events-held": (EVENT, "once", 2),
    "blocks-once": (BLOCK, "once", 0),
    "blocks-rerun": (BLOCK, "rerun", 0),
    "blocks-held": (BLOCK, "rerun", 1),
}
GATE = threading.Event()  # handlers wait while it is not set


class Door(FakeAggregator):
    """An aggregator whose door can be shut: then a call that comes was never made."""

    def __init__(self) -> None:
        super().__init__()
        self.shut = False
        self.before = self._at_the_door

    def forget(self) -> None:
        """Begin anew."""
        self.accepted.clear()
        self.refused.clear()
        self.sent.clear()
        self._digests.clear()
        self.faults.clear()
        self.always = None
        self.shut = False

    async def _at_the_door(self, request: web.BaseRequest) -> web.Response | None:
        if self.shut:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        return await self._before(request)


@dataclass
class Lies:
    """What one node gets wrong; the audit's reads, by range, are answered truly."""

    hides: str | None = None  # all | first | last: which logs of a block are left out
    blank: bool = False  # headers with a bloom of one bit that no rule sets
    failing: int = 0  # calls that are answered with an error

    async def before(self, _method: str, _params: list[Any]) -> None:
        if self.failing:
            self.failing -= 1
            raise NodeError(-32603, "internal error")

    def after(self, method: str, params: list[Any], result: Any) -> Any:
        if method == "eth_getLogs" and "blockHash" in params[0] and self.hides is not None:
            return {"all": [], "first": result[1:], "last": result[:-1]}[self.hides]
        if method.startswith("eth_getBlockBy") and self.blank and result:
            return {**result, "logsBloom": f"0x{1:0512x}"}
        return result


class Ground:
    """One history after the other happens here."""

    def __init__(self, folder: Path, nodes: list[FakeNode], aggregator: Door) -> None:
        self.nodes = nodes
        self.aggregator = aggregator
        rules = "".join(
            RULE.format(name=name, definition=definition, trigger=trigger, policy=policy, confirmations=confirmations)
            for definition, (name, (trigger, policy, confirmations)) in enumerate(RULES.items())
        )
        endpoints = [nodes[0].ws_url, nodes[1].http_url]
        config = write_config(
            folder,
            endpoints,
            rules,
            aggregator=aggregator.url,
            chain=f"start = {FIRST}",
            more='[logs]\nlevel = "error"\n',
        )
        config.write_text(config.read_text().replace('url = "http://127', 'timeout_s = 1\nurl = "http://127'))
        (folder / "answer.py").write_text(ANSWER)
        self.run = Following(config)
        self._settings = load(config, {})
        self._matchers = matchers(self._settings)
        self._handlers = handlers.load(self._settings.rules, folder)
        self._empty: Path | None = None
        self._edges: AsyncExitStack | None = None
        self._stop = asyncio.Event()

    # The beginning

    def begin(self) -> ScriptedChain:
        """Forget what was, and return a new chain."""
        chain = ScriptedChain(height=FIRST - 1)
        chain.final = FIRST - 3
        self.lies = [Lies() for _ in self.nodes]
        for node, lies in zip(self.nodes, self.lies, strict=True):
            node.chain, node.before, node.after = chain, lies.before, lies.after
            self.mend(node, lies)
            node.calls.clear()
        self.aggregator.forget()
        GATE.set()
        self.known_cancelled: dict[tuple[str, int], Any] = {}
        self.known_payloads: dict[str, Any] = {}
        self._remove_journal()
        if self._empty is not None:
            shutil.copy(self._empty, self.run.path)
        return chain

    @staticmethod
    def mend(node: FakeNode, lies: Lies) -> None:
        node.lag, node.deaf, node.silent = 0, False, False
        lies.hides, lies.blank, lies.failing = None, False, 0

    def _remove_journal(self) -> None:
        for ending in ("", "-wal", "-shm"):
            self.run.path.with_name(self.run.path.name + ending).unlink(missing_ok=True)

    # The daemon

    @property
    def is_up(self) -> bool:
        return self._edges is not None

    async def up(self) -> None:
        """Start the daemon."""
        edges = AsyncExitStack()
        self._stop = asyncio.Event()
        stages = await app.build(self._settings, self._matchers, self._handlers, edges)
        if self._empty is None:
            self._empty = self.run.path.with_name("empty.db")
            self._snapshot(self._empty)
        self._edges = edges
        self.run.serving = asyncio.create_task(app.serve(stages, self._stop))

    async def down(self) -> None:
        """Ask it to end, and wait for that."""
        edges, self._edges = self._edges, None
        if edges is None or self.run.serving is None:
            return
        self._stop.set()
        GATE.set()  # what is in hand is finished
        try:
            await self.run.serving
        finally:
            self.run.serving = None
            await edges.aclose()

    async def crash(self) -> None:
        """End it as a SIGKILL would in this moment."""
        edges, self._edges = self._edges, None
        serving, self.run.serving = self.run.serving, None
        if edges is None or serving is None:
            return
        self.aggregator.shut = True
        kept = self.run.path.with_name("kept.db")
        self._snapshot(kept)
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        await edges.aclose()
        self._remove_journal()
        kept.rename(self.run.path)
        self.aggregator.shut = False

    def _snapshot(self, to: Path) -> None:
        to.unlink(missing_ok=True)
        with (
            contextlib.closing(sqlite3.connect(self.run.path)) as source,
            contextlib.closing(sqlite3.connect(to)) as target,
        ):
            source.backup(target)

    async def let_run(self, commits: int) -> None:
        """Let everything go on until the journal was written so often, or nothing is written any more."""
        if self.run.serving is None:
            return
        with contextlib.closing(sqlite3.connect(self.run.path)) as reader:
            seen, left, idle = _version(reader), commits, 0
            while left > 0 and idle < IDLE_TURNS:
                await asyncio.sleep(TURN_S)
                version = _version(reader)
                idle = 0 if version != seen else idle + 1
                left -= version != seen
                seen = version
        if self.run.serving.done():
            self.run.serving.result()

    async def follow(self, chain: ScriptedChain) -> None:
        """Let everything go on until the cursor is at the head, unless it cannot get there."""
        for _ in range(FOLLOW_TURNS):
            if not self.is_up or self.run.chain["hash"] == chain.head.hash:
                return
            await self.let_run(1)

    # What must hold

    def check(self) -> None:
        """See that no payload was made twice, and that nothing was signed for a block known to be gone."""
        differing = self.aggregator.differing()
        assert not differing, f"sent with two payloads: {differing}"
        assert not self.aggregator.refused or all(
            "MessageAlreadySigned" in refusal.message for refusal in self.aggregator.refused
        ), self.aggregator.refused
        for row in self.run.rows:
            payload = (row["proof_of_task"], row["data"], row["digest"], row["signature"])
            if row["state"] in {"ready", "accepted"}:
                known = self.known_payloads.setdefault(row["key"], payload)
                assert known == payload, f"a payload was written twice: {row['key']}"
            if row["state"] == "cancelled":
                assert not row["canonical"]
                known = self.known_cancelled.setdefault((row["key"], row["claim"]), row["digest"])
                assert known == row["digest"], f"signed for a block that was known to be gone: {row}"
            assert not (row["state"] in {"pending", "running"} and not row["canonical"]), (
                "open for a block that is gone"
            )
            assert row["state"] != "failed", row["error"]

    async def settle(self, chain: ScriptedChain) -> None:
        """Mend everything, make the whole chain final, and wait until all is done that is to be done."""
        for node, lies in zip(self.nodes, self.lies, strict=True):
            self.mend(node, lies)
        GATE.set()
        self.aggregator.faults.clear()
        self.aggregator.always = None
        if not self.is_up:
            await self.up()
        chain.add()
        chain.final = chain.head.number
        # No rule fires on the last two blocks, so that whatever waits for confirmations has them.
        await self.nodes[0].mine(count=2 + (EVERY - 1 - (chain.head.number + 2)) % EVERY)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLED_S):
                while not self._is_settled(chain):
                    await self.let_run(1)
        assert self._is_settled(chain), f"not settled: {self.run.chain}, {self.run.brief()}"

    def _is_settled(self, chain: ScriptedChain) -> bool:
        at = self.run.chain
        if at["hash"] != chain.head.hash or at["audited"] < (chain.final or 0):
            return False
        still = self.run.query(
            "SELECT count(*) AS open FROM tasks t WHERE state IN ('pending', 'running') OR state = 'ready' AND "
            "(NOT orphaned OR EXISTS (SELECT 1 FROM tasks p WHERE p.paired_id = t.id AND p.canonical))"
        )
        return bool(still[0]["open"] == 0)

    def compare(self, chain: ScriptedChain) -> None:
        """Compare what was accepted with the triggers of the chain, each rule by its policy."""
        accepted = Counter(call.proof_of_task for call in self.aggregator.accepted)
        twice = [proof for proof, times in accepted.items() if times > 1]
        assert not twice, f"accepted twice: {twice}"
        causes: Counter[tuple[str, str]] = Counter()
        for proof in accepted:
            rule, _, cause = proof.split("+")
            causes[rule, cause.split("/")[0]] += 1
        for rule, (_, policy, _) in RULES.items():
            wanted = self._triggers(rule, chain)
            if policy == "rerun":
                missed = [proof for proof in wanted if proof not in accepted]
                assert not missed, f"missed: {missed}"
                continue
            expected = Counter((rule, proof.split("+")[2].split("/")[0]) for proof in wanted)
            for cause, times in expected.items():
                assert causes[cause] == times, f"{cause} is {times} times on the chain, {causes[cause]} were accepted"

    @staticmethod
    def _triggers(rule: str, chain: ScriptedChain) -> list[str]:
        found = []
        for block in chain.blocks[FIRST:]:
            if rule.startswith("events"):
                causes = [f"{log.transaction_hash.hex()}/{index}" for index, log in enumerate(block.emitted)]
            else:
                causes = [str(block.number)] if block.number % EVERY == 0 else []
            found += [f"{rule}+{block.hash.hex()}+{cause}" for cause in causes]
        return found


def _version(reader: sqlite3.Connection) -> int:
    """Return a number that changes with each write of others."""
    (version,) = reader.execute("PRAGMA data_version").fetchone()
    return int(version)


@asynccontextmanager
async def open_ground(folder: Path) -> AsyncIterator[Ground]:
    """Start the nodes and the aggregator."""
    async with FakeNode() as first, FakeNode() as second, Door() as aggregator:
        ground = Ground(folder, [first, second], aggregator)
        try:
            yield ground
        finally:
            await ground.down()
