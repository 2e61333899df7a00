"""
Nothing is missed and nothing doubled, whatever chain, handlers, aggregator and process do, in whatever order.

A chain of one transaction after another forks at random. In the end all that is due is executed and sent, and the
canonical chain is compared with what was accepted. On PostgreSQL two processes share the journal: each thing is done by
one or the other, and what one had in hand when it died comes late, or is taken over.
"""

import random
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from world import CHAIN, CHAIN_ID, NOW, RULES, START, block, chain_row, event, fired, frontier, sent, signed

from listener.config import Url
from listener.journal import Claimed, Due, Step, chain_rows, execution
from listener.journal.database import open_engine, upgrade
from listener.journal.lease import ALONE, Lease
from listener.journal.sending import Outbox
from listener.journal.walk import Walk
from listener.model import Block, Occasion, State

ACTIONS = (
    *("grow", "grow", "fork", "fork", "return", "claim", "sign", "sign", "hand", "accept", "fail", "restart"),
    *("work", "work"),
)
TABLES = "tasks, chains, blocks, rules, replaced, incidents, facts"


@pytest.fixture
def empty(place: Path | Url) -> Path | Url:
    """A journal that just began, to be used again: making one takes longer than a whole example."""
    engine = open_engine(place)
    upgrade(engine)
    with engine.begin() as connection:
        chain_rows.begin(connection, row=chain_row(), now=NOW)
    engine.dispose()
    return place


@contextmanager
def fresh(empty: Path | Url) -> Iterator[Path | Url]:
    if isinstance(empty, Path):
        with tempfile.TemporaryDirectory() as folder:
            yield Path(shutil.copy(empty, Path(folder) / "listener.db"))
        return
    engine = open_engine(empty)
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {TABLES} RESTART IDENTITY"))
        chain_rows.begin(connection, row=chain_row(), now=NOW)
    engine.dispose()
    yield empty


class Process:
    """What one process has in its memory."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        touched: set[int] = set()
        self.walk = Walk(dict(RULES), touched, shared=lease.is_shared)
        self.outbox = Outbox(touched, lease)
        self.running: list[Any] = []
        self.in_hand: list[Any] = []


class Life:
    """One journal's life, action by action, in the writer's own words but without its thread."""

    def __init__(self, place: Path | Url, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a test that can be repeated
        self.engine = open_engine(place)
        self.connection = self.engine.connect()
        self.is_shared = isinstance(place, Url)
        if not self.is_shared:
            self.connection.connection.cursor().execute("PRAGMA synchronous=OFF")
        self.chain: list[Block] = [block(START)]
        self.places: dict[bytes, tuple[int, ...]] = {}  # by block: the transactions in it
        self.forks = 0
        self.old: list[list[Block]] = []
        self.payloads: dict[int, tuple[Any, ...]] = {}  # by task
        self.delivered: set[bytes] = set()  # digests that the aggregator took
        self.begun: defaultdict[tuple[str, Any], set[bytes]] = defaultdict(set)  # by cause: digests whose send began
        self.processes = [self._started() for _ in range(2 if self.is_shared else 1)]
        self.dead: list[Process] = []  # whose results may still come

    def close(self) -> None:
        self.connection.close()
        self.engine.dispose()

    def _started(self) -> Process:
        process = Process(Lease.new() if self.is_shared else ALONE)
        with self.connection.begin():
            execution.recover(self.connection, {}, NOW, process.lease)
            process.outbox.find(self.connection)
        return process

    @property
    def one(self) -> Process:
        return self.random.choice(self.processes)

    def _lapse(self, process: Process) -> None:
        """Let the claims of a process end, and the others notice."""
        with self.connection.begin():
            ended = text("UPDATE tasks SET claimed_until = 0 WHERE claimant = :who")
            self.connection.execute(ended, {"who": process.lease.claimant})
            execution.recover(self.connection, {}, NOW, self.processes[0].lease)

    def occasions(self, at: Block) -> list[Occasion]:
        found = [fired("blocks", at), fired("blocks-once", at)] if at.number % 2 else []
        for index, tx in enumerate(self.places.get(at.hash, ())):
            found += [event("events", at, tx=tx, index=index), event("events-rerun", at, tx=tx, index=index)]
        return found

    # Actions

    def restart(self) -> None:
        """End a process uncleanly and begin another; what others held beside it stays theirs."""
        gone = self.one
        self.processes.remove(gone)
        if self.is_shared:
            self.dead.append(gone)  # or it only was so slow that it seemed dead
        self.processes.append(self._started())
        if self.is_shared and self.random.random() < 0.7:
            self._lapse(gone)

    def grow(self) -> None:
        self._go(len(self.chain) - 1, self._new_blocks(self.chain, self.random.randint(1, 2)))

    def fork(self) -> None:
        keep = self.random.randint(max(0, len(self.chain) - 4), len(self.chain) - 1)
        if keep == len(self.chain) - 1:
            return
        self.old.append(self.chain)
        self._go(keep, self._new_blocks(self.chain[: keep + 1], self.random.randint(1, 3)))

    def return_(self) -> None:
        """Go back to a chain that was left before."""
        if not self.old:
            return
        goal = self.random.choice(self.old)
        keep = next((n for n, pair in enumerate(zip(self.chain, goal, strict=False)) if pair[0] != pair[1]), None)
        if keep is None:
            return
        self.old.append(self.chain)
        self._go(keep - 1, goal[keep:])

    def _new_blocks(self, below: list[Block], count: int) -> list[Block]:
        """Make blocks of a new branch; a transaction that was elsewhere before may move into them."""
        self.forks += 1
        held = {tx for known in below for tx in self.places.get(known.hash, ())}
        made = []
        for number in range(below[-1].number + 1, below[-1].number + 1 + count):
            free = [tx for tx in range(6) if tx not in held]
            here = tuple(self.random.sample(free, min(len(free), self.random.choice((0, 1, 1, 2)))))
            held.update(here)
            fresh = block(number, f"fork{self.forks}-")
            self.places[fresh.hash] = here
            made.append(fresh)
        return made

    def _go(self, keep: int, ahead: list[Block]) -> None:
        if not ahead:
            return
        reorg = keep < len(self.chain) - 1
        step = Step(
            chain=CHAIN,
            after=self.chain[-1].cursor,
            cursor=ahead[-1].cursor,
            frontier=frontier(ahead[-1].number),
            ancestor=self.chain[keep].cursor if reorg else None,
            blocks=ahead,
            occasions=[occasion for each in ahead for occasion in self.occasions(each)],
        )
        with self.connection.begin():
            self.one.walk.write(self.connection, step, CHAIN_ID, NOW)
        self.chain = [*self.chain[: keep + 1], *ahead]

    def claim(self) -> None:
        rule, process = self.random.choice(list(RULES)), self.one
        with self.connection.begin():
            due = Due(rule=rule, slots=self.random.randint(1, 3), released=None)
            process.running += execution.claim(self.connection, due, NOW, process.lease)
            process.running += execution.claim_suspect(self.connection, due, NOW, process.lease)

    def sign(self) -> None:
        process = self.random.choice([*self.processes, *self.dead])
        self.random.shuffle(process.running)
        some, process.running = process.running[:2], process.running[2:]
        if some:
            # A late one says something else, so that it would be seen if it counted.
            late = " late" if process in self.dead else ""
            results = [signed(task, proof_of(task) + late) for task in some]
            held = self.held_by(process)
            with self.connection.begin():
                states = execution.sign(self.connection, results, NOW, process.lease)
            assert set(states) <= held, "a result counted whose claim was lost"

    def held_by(self, process: Process) -> set[int]:
        rows = self.rows().values()
        return {row["id"] for row in rows if row["claimant"] == process.lease.claimant and row["state"] == "running"}

    def hand(self) -> None:
        process = self.one
        before = self.rows()
        with self.connection.begin():
            parcels = process.outbox.hand_out(self.connection, self.random.randint(1, 3), NOW)
        for parcel in parcels:
            assert before[parcel.id]["claimed_until"] in {None, 0}, "sent by two at a time"
        rows = self.rows()
        for parcel in parcels:
            row = rows[parcel.id]
            self.begun[row["rule"], cause(row)].add(parcel.payload.digest)
            assert row["canonical"] or any(
                other["canonical"] and other["paired_id"] == parcel.id for other in rows.values()
            ), "sent for a block that is gone"
            if self.random.random() < 0.7:  # it arrives, whether or not the answer does
                self.delivered.add(parcel.payload.digest)
        process.in_hand += parcels

    def work(self) -> None:
        """Do a little of everything."""
        for act in (self.claim, self.claim, self.sign, self.sign, self.hand, self.accept):
            act()

    def accept(self) -> None:
        process = self.random.choice([*self.processes, *self.dead])
        taken = [parcel for parcel in process.in_hand if parcel.payload.digest in self.delivered]
        self._answer(process, taken, State.ACCEPTED)

    def fail(self) -> None:
        process = self.random.choice([*self.processes, *self.dead])
        self._answer(process, process.in_hand[:2], State.READY)

    def _answer(self, process: Process, parcels: list[Any], state: State) -> None:
        if parcels:
            with self.connection.begin():
                process.outbox.take_back(self.connection, [sent(parcel.id, state) for parcel in parcels])
            process.in_hand = [parcel for parcel in process.in_hand if parcel not in parcels]

    def settle(self) -> None:
        """Let all that is due be executed and accepted, by the one process that is left."""
        for gone in [*self.dead, *self.processes[1:]]:
            self._lapse(gone)
        self.dead, self.processes = [], self.processes[:1]
        (process,) = self.processes
        self.fail()
        for _ in range(60):
            for rule in RULES:
                with self.connection.begin():
                    due = Due(rule=rule, slots=9, released=None)
                    process.running += execution.claim(self.connection, due, NOW, process.lease)
                    process.running += execution.claim_suspect(self.connection, due, NOW, process.lease)
            while process.running:
                self.sign()
            with self.connection.begin():
                process.in_hand += (parcels := process.outbox.hand_out(self.connection, 50, NOW))
            for parcel in parcels:
                row = self.rows()[parcel.id]
                self.begun[row["rule"], cause(row)].add(parcel.payload.digest)
            self.delivered.update(parcel.payload.digest for parcel in process.in_hand)
            if not process.in_hand:
                return
            self.accept()
        raise AssertionError("never at rest")

    def rows(self) -> dict[int, dict[str, Any]]:
        with self.connection.begin():
            found = self.connection.execute(text("SELECT * FROM tasks"))
            return {row["id"]: dict(row) for row in found.mappings()}

    # What must hold

    def check_always(self) -> None:
        for row in self.rows().values():
            payload = (row["proof_of_task"], row["data"], row["digest"], row["signature"])
            if row["state"] in ("ready", "accepted"):
                assert self.payloads.setdefault(row["id"], payload) == payload, "a payload was written twice"
            assert not (row["state"] in ("pending", "running") and not row["canonical"])
        for (rule, place), digests in self.begun.items():
            if RULES[rule].once:
                assert len(digests) == 1, f"{rule} was sent twice for {place!r}"

    def check_end(self) -> None:
        rows = {row["key"]: row for row in self.rows().values()}
        by_id = {row["id"]: row for row in rows.values()}
        for at in self.chain:
            for occasion in self.occasions(at):
                row = rows[occasion.key(CHAIN_ID)]
                assert row["canonical"]
                if row["state"] == "skipped":  # done under another block's task, of the same cause or the same payload
                    assert RULES[occasion.rule].once or occasion.rule == "blocks"
                    row = by_id[row["paired_id"]]
                assert row["state"] == "accepted", "missed"
                assert row["digest"] in self.delivered


def proof_of(task: Claimed) -> str:
    """Say something new in each execution; but the rule "blocks" says the same of every block with one number."""
    return str(task.block_number) if task.rule == "blocks" else f"{task.key} {task.attempt}"


def cause(row: dict[str, Any]) -> Any:
    return row["transaction_hash"] or row["block_number"]


@given(seed=st.integers(0, 2**32), actions=st.lists(st.sampled_from(ACTIONS), min_size=5, max_size=40))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_is_missed_and_nothing_doubled_whatever_happens_in_whatever_order(
    empty: Path | Url, seed: int, actions: list[str]
) -> None:
    with fresh(empty) as place:
        life = Life(place, seed)
        try:
            for action in actions:
                getattr(life, "return_" if action == "return" else action)()
                life.check_always()
            life.settle()
            life.check_always()
            life.check_end()
        finally:
            life.close()
