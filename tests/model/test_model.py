"""
Random histories of a chain, its endpoints, the aggregator and the daemon: nothing is missed, nothing is doubled.

Hypothesis chooses what happens and in which order; in the end everything is mended, the chain becomes final, and what
the aggregator accepted is compared with what is on the chain. Ordinarily these are a few histories, the same each time;
``LISTENER_MODEL=N`` makes N that nobody has seen yet, and shortens the one that fails.
"""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from following import ping
from ground import FIRST, GATE, Ground, open_ground
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from told import Told, told

from listener.testing import Emitted, Fault, ScriptedBlock

MANY = os.environ.get("LISTENER_MODEL")
HISTORIES = int(MANY or "30")
STEPS = 40
NODES = st.integers(0, 1)
# What the contract says in one transaction. Of the last one what it says depends on its block.
TRANSACTIONS = {"a": 1, "b": 1, "c": 2, "d": 3, "e": 1}
FAULTS = {
    "lost": Fault.lost("reset"),
    "closed": Fault.lost("close"),
    "cut": Fault.cut(),
    "500": Fault.answered(500),
    "html": Fault.html(),
    "error": Fault.error(-32603, "timeout of the gossip"),
    "behind": Fault.behind(),
    "slow": Fault.slow(0.01),
}
TROUBLES: tuple[tuple[str, Any], ...] = (
    *(("hides", which) for which in ("all", "first", "last")),
    ("blank", True),
    ("lag", 1),
    ("lag", 4),
    ("failing", 2),
    ("failing", 7),
    ("deaf", True),
    ("reset", None),
    ("hangs up", 1000),
    ("hangs up", 1011),
    ("well", None),
    ("well", None),
)


class History(RuleBasedStateMachine):
    """One chain's history, with a daemon that follows it."""

    def __init__(self, runner: asyncio.Runner, ground: Ground, told: Told) -> None:
        super().__init__()
        self.runner = runner
        self.ground = ground
        self.told = told
        told.begin()
        self.chain = ground.begin()
        self.old: list[list[ScriptedBlock]] = []
        with told.step("up"):
            self.runner.run(ground.up())

    # The chain

    @rule(
        count=st.integers(1, 4), names=st.lists(st.sampled_from(sorted(TRANSACTIONS)), max_size=3), pushed=st.booleans()
    )
    @told
    def grow(self, count: int, names: list[str], *, pushed: bool) -> None:
        """Blocks are mined; the newest holds transactions that are in no other block of the chain."""
        number = self.chain.head.number + count
        logs = self._logs(names, number)
        if pushed:
            self.runner.run(self.ground.nodes[0].mine(*logs, count=count))
        else:
            self.chain.add(*logs, count=count)

    @rule(
        depth=st.integers(1, 6),
        count=st.integers(1, 7),
        names=st.lists(st.sampled_from(sorted(TRANSACTIONS)), max_size=3),
        pushed=st.booleans(),
    )
    @told
    def fork(self, depth: int, count: int, names: list[str], *, pushed: bool) -> None:
        """The newest blocks are replaced; what they held may be in the new ones."""
        depth = min(depth, self.chain.head.number - self._lowest)
        if depth < 1:
            return
        self.old.append(self.chain.fork(depth))
        self.grow(count=count, names=names, pushed=pushed)

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    @told
    def go_back(self, data: st.DataObject) -> None:
        """Blocks that were replaced return, where the chain below them is still there."""
        fitting = [
            blocks
            for blocks in self.old
            if blocks[0].number > self._lowest
            and (below := self.chain.block(blocks[0].number - 1)) is not None
            and below.hash == blocks[0].parent_hash
            and self.chain.block(blocks[0].number) != blocks[0]
        ]
        if not fitting:
            return
        blocks = data.draw(st.sampled_from(fitting), label="blocks")
        self.old.append(self.chain.blocks[blocks[0].number :])
        self.chain.return_to(blocks)

    @rule(behind=st.integers(2, 8))
    @told
    def finalise(self, behind: int) -> None:
        """Blocks become final."""
        self.chain.final = max(self.chain.final or 0, self.chain.head.number - behind)

    @property
    def _lowest(self) -> int:
        """The block that no reorg replaces."""
        return max(self.chain.final or 0, FIRST - 1)

    def _logs(self, names: list[str], number: int) -> list[Emitted]:
        here = {log.transaction for block in self.chain.blocks for log in block.emitted}
        return [
            ping(channel=index, value=number if name == "e" else ord(name), transaction=name)
            for name in dict.fromkeys(names)
            if name not in here
            for index in range(TRANSACTIONS[name])
        ]

    # What goes wrong around the daemon

    @rule(node=NODES, what=st.sampled_from(TROUBLES))
    @told
    def trouble(self, node: int, what: tuple[str, Any]) -> None:
        """An endpoint goes wrong in one way, or is well again; the first one pushes, and may hang up."""
        kind, value = what
        endpoint, lies = self.ground.nodes[node], self.ground.lies[node]
        if kind == "well":
            self.ground.mend(endpoint, lies)
        elif kind in {"hides", "blank", "failing"}:
            setattr(lies, kind, value)
        elif kind == "hangs up":
            self.runner.run(self.ground.nodes[0].hang_up(value))
        elif kind == "reset":
            self.ground.nodes[0].reset()
        else:
            setattr(endpoint, kind, value)

    @rule(names=st.lists(st.sampled_from(sorted(FAULTS)), min_size=1, max_size=4))
    @told
    def misbehave(self, names: list[str]) -> None:
        self.ground.aggregator.faults += [FAULTS[name] for name in names]

    @rule(fault=st.sampled_from((None, None, Fault.answered(503), Fault.cut(), Fault.behind(), Fault.lost("reset"))))
    @told
    def be_out(self, fault: Fault | None) -> None:
        self.ground.aggregator.always = fault

    @rule(opened=st.booleans())
    @told
    def keep_handlers_waiting(self, *, opened: bool) -> None:
        """Handlers do not end until they may."""
        if opened:
            GATE.set()
        else:
            GATE.clear()

    # The daemon

    @rule(commits=st.integers(0, 6))
    @told
    def go_on(self, commits: int) -> None:
        """Let the daemon write a little, wherever it is then."""
        self.runner.run(self.ground.let_run(commits))

    @rule()
    @told
    def follow(self) -> None:
        """Let the daemon reach the head, if it can."""
        self.runner.run(self.ground.follow(self.chain))

    @rule()
    @told
    def work(self) -> None:
        """Let the daemon do all that it can do now."""
        self.runner.run(self.ground.follow(self.chain))
        self.runner.run(self.ground.let_run(50))

    @precondition(lambda self: self.ground.is_up)
    @rule(how=st.sampled_from(("stopped", "crashed", "crashed and started")))
    @told
    def end(self, how: str) -> None:
        self.runner.run(self.ground.down() if how == "stopped" else self.ground.crash())
        if how == "crashed and started":
            self.runner.run(self.ground.up())

    @precondition(lambda self: not self.ground.is_up)
    @rule()
    @told
    def start(self) -> None:
        self.runner.run(self.ground.up())

    # The end

    @invariant()
    @told
    def nothing_is_wrong_yet(self) -> None:
        self.ground.check()

    @told
    def teardown(self) -> None:
        self.runner.run(self._end())

    async def _end(self) -> None:
        try:
            self.ground.check()
            await self.ground.settle(self.chain)
            self.ground.check()
            self.ground.compare(self.chain)
        finally:
            await self.ground.crash()


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


def test_what_was_accepted_is_what_the_chain_holds_each_once_whatever_happened(
    runner: asyncio.Runner, tmp_path: Path
) -> None:
    opened = open_ground(tmp_path)
    ground = runner.run(opened.__aenter__())
    seen = Told()
    try:
        with seen.first_failure():
            run_state_machine_as_test(
                lambda: History(runner, ground, seen),
                settings=settings(
                    max_examples=HISTORIES,
                    derandomize=MANY is None,
                    phases=list(Phase) if MANY else [Phase.generate],
                    stateful_step_count=STEPS,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
    finally:
        runner.run(opened.__aexit__(None, None, None))
