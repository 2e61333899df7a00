"""
A real journal over made-up blocks: what the tests of the journal, the runner and the submitter share.

A block is named by its branch and its number: ``block(12, "b")`` is the block 12 of branch b.
"""

import asyncio
import contextlib
import hashlib
import sqlite3
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from listener.config import Url
from listener.journal import (
    Asked,
    ChainRow,
    Claimed,
    Due,
    Frontier,
    Journal,
    Parcel,
    RuleFacts,
    Sent,
    Signed,
    Step,
    Taken,
    Written,
    now_us,
)
from listener.journal.database import open_engine
from listener.journal.operator import Decided
from listener.model import Block, Cursor, Log, Occasion, State, TaskResult
from listener.signing import Signer

sys.path.insert(0, str(Path(__file__).parents[1]))  # for scripts that have this folder alone

import postgres

CHAIN = "l2"
CHAIN_ID = 31337
START = 10  # the block at which every journal begins
KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"  # the first account of every local chain
SIGNER = Signer(KEY)
CONTRACT = "0x5fbdb2315678afecb367f032d93f642f64180aa3"
NOW = 1_700_000_000_000_000

RULES = {
    "blocks": RuleFacts(task_definition_id=1, once=False),
    "blocks-once": RuleFacts(task_definition_id=2, once=True),
    "events": RuleFacts(task_definition_id=3, once=True),
    "events-rerun": RuleFacts(task_definition_id=4, once=False),
}
ASKED = "asked"  # a rule whose tasks no block makes
ALL_RULES = {**RULES, ASKED: RuleFacts(task_definition_id=5, once=False)}


def hashed(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def block(number: int, branch: str = "a") -> Block:
    return Block(
        number=number,
        hash=hashed(f"{branch}{number}"),
        parent_hash=hashed(f"{branch}{number - 1}"),
        timestamp=1_700_000_000 + number,
        bloom=0,
        gas_used=21_000,
    )


def fired(rule: str, at: Block) -> Occasion:
    """A block rule fired."""
    return Occasion(rule, "block", at)


def event(rule: str, at: Block, *, tx: int = 1, index: int = 0, data: bytes = b"", topic: str = "t") -> Occasion:
    """An event rule fired, by the log at ``index`` of transaction ``tx``."""
    log = Log(CONTRACT, (hashed(topic),), data, at.number, at.hash, hashed(f"tx{tx}"), index)
    return Occasion(rule, "event", at, log=log)


class World:
    """A journal, and a walk of its one chain; use it as an async context manager."""

    def __init__(self, place: Path | Url, rules: Mapping[str, RuleFacts] = ALL_RULES) -> None:
        self.place = place
        self._rules = rules
        self.journal: Journal
        self.cursor = block(START).cursor

    async def __aenter__(self) -> Self:
        self.journal = await Journal.open(self.place, self._rules)
        await self.journal.begin_chain(chain_row(), {}, "latest")
        self.journal.stand(CHAIN, self.cursor, frontier(START))
        self.journal.look(CHAIN)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.journal.close()

    @property
    def path(self) -> Path:
        assert isinstance(self.place, Path), "a test of SQLite alone"
        return self.place

    async def restart(self, max_attempts: Mapping[str, int] | None = None, *, looks: bool = True) -> tuple[int, int]:
        """
        End the process and begin another, as far as the journal can tell; return what recover() says.

        With ``looks``, the cursor is compared with the chain at once.
        """
        await self.journal.close()
        lapse(self.place)
        self.journal = await Journal.open(self.place, self._rules)
        row = await self.journal.chain(CHAIN)
        assert row is not None
        self.cursor = row.cursor
        self.journal.stand(CHAIN, row.cursor, frontier(row.cursor.number))
        if looks:
            self.journal.look(CHAIN)
        return await self.journal.recover(max_attempts or {})

    # Walking

    async def walk(self, *occasions: Occasion, to: Block | None = None, final: int = 0) -> Written:
        """Walk on to a block (None: that of the last occasion)."""
        return await self.journal.write(self.step(occasions, to or occasions[-1].block, final=final), CHAIN_ID)

    async def fork(self, ancestor: Block, *occasions: Occasion, to: Block | None = None) -> Written:
        """Go back to an ancestor, and on to a block of another branch, in one step."""
        step = self.step(occasions, to or occasions[-1].block, ancestor=ancestor)
        return await self.journal.write(step, CHAIN_ID)

    def step(self, occasions: Sequence[Occasion], to: Block, *, ancestor: Block | None = None, final: int = 0) -> Step:
        after, self.cursor = self.cursor, to.cursor
        first = after.number if ancestor is None else ancestor.number
        known = {occasion.block.number: occasion.block for occasion in occasions} | {to.number: to}
        branch = next(name for name in "abcdef" if block(to.number, name) == to)
        return Step(
            chain=CHAIN,
            after=after,
            cursor=to.cursor,
            frontier=frontier(to.number, final),
            ancestor=None if ancestor is None else ancestor.cursor,
            blocks=[known.get(number) or block(number, branch) for number in range(first + 1, to.number + 1)],
            occasions=occasions,
        )

    # What a schedule or a request does

    async def ask(self, cause: str = "one", **more: Any) -> Taken:
        given: dict[str, Any] = {"rule": ASKED, "chain": CHAIN, "trigger": "http", "due": 1_700_000_500}
        return await self.journal.ask(Asked(cause=cause, **{**given, **more}))

    # What the runner does

    async def claim(self, rule: str, *, slots: int = 100, released: int | None = None, **due: Any) -> list[Claimed]:
        (claimed,) = await self.journal.claim([Due(rule=rule, slots=slots, released=released, **due)])
        return claimed

    async def claim_suspect(self, rule: str) -> Claimed | None:
        return await self.journal.claim_suspect([Due(rule=rule, slots=1, released=None)])

    async def sign(self, claimed: Iterable[Claimed], proof: str | None = None) -> dict[int, State]:
        """Sign each task's result; its proof is the task's key unless another is given."""
        return await self.journal.sign([signed(task, proof) for task in claimed])

    async def execute(self, rule: str, proof: str | None = None) -> dict[int, State]:
        """Claim what is due and sign it."""
        return await self.sign(await self.claim(rule), proof)

    # What the submitter does

    async def hand_out(self, slots: int = 100) -> list[Parcel]:
        return await self.journal.hand_out(slots)

    async def accept(self, parcels: Iterable[Parcel]) -> None:
        await self.journal.take_back([sent(parcel.id) for parcel in parcels])

    async def send_all(self) -> list[Parcel]:
        """Send what is ready, and have it accepted."""
        parcels = await self.hand_out()
        await self.accept(parcels)
        return parcels

    # What is written

    def rows(self) -> dict[int, dict[str, Any]]:
        """Every task as the table holds it, by id."""
        return {row["id"]: row for row in query(self.place, "SELECT * FROM tasks ORDER BY id")}

    def row(self, task_id: int = 1) -> dict[str, Any]:
        return self.rows()[task_id]

    def states(self) -> list[str]:
        """The state of every task, in the order of their ids."""
        return [row["state"] for row in self.rows().values()]

    def change(self, sql: str) -> None:
        """Write to it as any other program would."""
        change(self.place, sql)

    def decide(self, do: Callable[..., Decided], task_id: int = 1, **more: Any) -> Decided:
        """Have an operator decide of a task, on a connection of his own."""
        engine = open_engine(self.place)
        with engine.begin() as connection:
            return do(connection, task_id, now_us(), **more)

    def written_cursor(self) -> Cursor:
        (row,) = query(self.place, "SELECT number, hash FROM chains")
        return Cursor(row["number"], row["hash"])

    def remembered(self) -> list[int]:
        """The numbers of the blocks whose hash is remembered."""
        return [row["number"] for row in query(self.place, "SELECT number FROM blocks ORDER BY number")]


def chain_row(cursor: Cursor | None = None, name: str = CHAIN) -> ChainRow:
    return ChainRow(
        name=name, chain_id=CHAIN_ID, genesis=hashed("genesis"), cursor=cursor or block(START).cursor, final=0
    )


def frontier(head: int, final: int = 0) -> Frontier:
    return Frontier(head=head, safe=final, final=final)


def signed(task: Claimed, proof: str | None = None) -> Signed:
    result = TaskResult(task.key if proof is None else proof, b"data")
    return Signed(task, SIGNER.sign(result, ALL_RULES[task.rule].task_definition_id))


def sent(task_id: int, state: State = State.ACCEPTED, **more: Any) -> Sent:
    return Sent(id=task_id, state=state, sent_at=NOW, ended_at=NOW + 1000, **more)


def query(place: Path | Url, sql: str) -> list[dict[str, Any]]:
    """Read the journal as any other program would."""
    if isinstance(place, Url):
        return postgres.query(place, sql)
    with contextlib.closing(sqlite3.connect(place)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql)]


def change(place: Path | Url, sql: str) -> None:
    """Write into the journal as any other program would."""
    if isinstance(place, Url):
        postgres.change(place, sql)
        return
    with contextlib.closing(sqlite3.connect(place)) as connection, connection:
        connection.execute(sql)


def lapse(place: Path | Url) -> None:
    """Let so much time pass that claims which nobody renewed have ended."""
    change(place, "UPDATE tasks SET claimed_until = 0 WHERE claimed_until IS NOT NULL")


def place_of(word: str) -> Path | Url:
    """Read what a script was told of its journal's place."""
    return Url(word) if "://" in word else Path(word)


def word_of(place: Path | Url) -> str:
    return place.get_secret_value() if isinstance(place, Url) else str(place)


async def until(condition: Callable[[], bool], within_s: float = 20) -> None:
    """Wait until something is so."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - what is waited for may be in a file
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"not so within {within_s} s") from None
