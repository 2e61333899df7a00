"""Several processes on one journal: nothing is executed or sent by two, and what one leaves behind others take over."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self

import pytest
from world import CHAIN, RULES, START, World, block, chain_row, change, event, fired, frontier, lapse, sent, until

from listener.config import Url
from listener.errors import JournalError, Overtaken
from listener.journal import Claimed, Due, Ended, Journal, lease
from listener.model import State


@pytest.fixture
def place(database: Url) -> Url:
    return database


class Another(World):
    """A second process on a world's journal, which stands where that one stands."""

    async def __aenter__(self) -> Self:
        self.journal = await Journal.open(self.place, RULES)
        row = await self.journal.begin_chain(chain_row(), {}, "latest")
        self.cursor = row.cursor
        self.journal.stand(CHAIN, row.cursor, frontier(row.cursor.number))
        self.journal.look(CHAIN)
        await self.journal.recover({"blocks": 3})
        return self

    async def follow(self) -> None:
        """Do as a follower does before it walks."""
        await self.journal.refresh(CHAIN)
        self.cursor = self.journal.cursors[CHAIN]


@pytest.fixture
async def other(world: World) -> AsyncIterator[Another]:
    async with Another(world.place) as opened:
        yield opened


async def test_a_reorg_that_one_wrote_is_known_to_the_other_when_the_cause_comes_again(
    world: World, other: Another
) -> None:
    await other.walk(to=block(11))
    await world.journal.refresh(CHAIN)
    world.cursor = world.journal.cursors[CHAIN]
    await world.walk(event("events", block(12), tx=1))
    await world.execute("events")
    await world.send_all()
    await world.fork(block(11), to=block(12, "b"))
    await other.follow()
    written = await other.walk(event("events", block(13, "b"), tx=1))
    assert written.paired == 1
    assert world.states() == ["accepted", "skipped"]


# Claims


async def test_what_one_claims_the_other_does_not(world: World, other: Another) -> None:
    await world.walk(*[fired("blocks", block(number)) for number in range(11, 15)])
    assert [task.id for task in await world.claim("blocks", slots=2)] == [1, 2]
    assert [task.id for task in await other.claim("blocks")] == [3, 4]
    assert len({row["claimant"] for row in world.rows().values()}) == 2


async def test_a_claim_is_renewed_while_it_is_held(
    world: World, other: Another, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.05)
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)))
    await world.journal.recover({})  # from then on it renews
    (task, _) = await world.claim("blocks")
    await world.sign([task])
    await world.hand_out()
    for row in world.rows().values():
        before = row["claimed_until"]
        await until(lambda: all(row["claimed_until"] > before for row in world.rows().values()))  # noqa: B023 - at once
    assert await other.claim("blocks") == []
    assert await other.hand_out() == []


async def test_what_nobody_renews_is_taken_over_as_a_suspect_with_its_attempt_counted(
    world: World, other: Another, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[object] = []
    other.journal.on_pending = woken.append
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)))
    await world.claim("blocks", slots=1)
    monkeypatch.setattr(lease, "RENEW_S", 0.05)
    await other.journal.recover({"blocks": 3})
    assert world.states() == ["running", "pending"], "it has not ended yet"
    lapse(world.place)
    await until(lambda: woken == [None])
    assert world.states() == ["pending", "pending"]
    assert [task.id for task in await other.claim("blocks")] == [2]
    suspect = await other.claim_suspect("blocks")
    assert suspect is not None
    assert (suspect.id, suspect.attempt) == (1, 2)


async def test_a_task_that_ends_one_process_after_the_other_ends_as_failed(world: World, other: Another) -> None:
    await world.walk(fired("blocks", block(11)))
    for process in (world, other, world):
        assert await process.claim("blocks") or await process.claim_suspect("blocks")
        lapse(world.place)
        await other.journal.recover({"blocks": 3})
    assert (world.states(), world.row()["attempts"]) == (["failed"], 3)


async def test_who_lost_a_claim_changes_nothing(world: World, other: Another) -> None:
    await world.walk(fired("blocks", block(11)))
    late = await world.claim("blocks")
    lapse(world.place)
    await other.journal.recover({})
    assert await world.sign(late) == {}
    suspect = await other.claim_suspect("blocks")
    assert suspect is not None
    before = world.row()
    assert await world.sign(late) == {}
    assert await world.journal.end([Ended(late[0], State.FAILED, "late")]) == set()
    await world.journal.release()
    assert world.row() == before
    assert await other.sign([suspect]) == {1: State.READY}
    assert await world.sign(late, proof="late") == {}
    assert world.row()["proof_of_task"] == suspect.key


async def test_a_row_that_was_forgotten_and_made_again_under_the_same_id_is_another_task(world: World) -> None:
    """Steps are not synced: a server that crashed may give the ids of the last ones to others."""
    await world.walk(fired("blocks", block(11)))
    (task,) = await world.claim("blocks")
    change(world.place, "UPDATE tasks SET key = 'another'")
    assert await world.sign([task]) == {}
    assert await world.journal.end([Ended(task, State.FAILED, "late")]) == set()
    assert world.states() == ["running"]


async def test_a_stop_leaves_to_others_at_once_what_was_in_hand(world: World, other: Another) -> None:
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)))
    await world.sign(await world.claim("blocks", slots=1))
    await world.hand_out()
    await world.claim("blocks")
    assert await other.claim("blocks") == []
    await world.journal.release()
    assert [(task.id, task.attempt) for task in await other.claim("blocks")] == [(2, 1)]
    assert await other.hand_out() == [], "its send may still be under way"
    await world.journal.close()
    parcels = await other.hand_out()
    world.journal = await Journal.open(world.place, RULES)  # for the fixture to close
    assert [(parcel.id, parcel.fresh) for parcel in parcels] == [(1, False)]


async def test_the_others_stop_puts_back_nothing_of_ours(world: World, other: Another) -> None:
    await world.walk(fired("blocks", block(11)))
    claimed = await world.claim("blocks")
    await other.journal.release()
    assert await world.sign(claimed) == {1: State.READY}


async def test_confirmations_count_from_where_the_cursor_is_written(world: World, other: Another) -> None:
    await world.walk(to=block(13))
    await other.follow()
    await world.walk(to=block(20))
    await other.follow()
    await world.fork(block(13), fired("blocks", block(14, "b")))
    held = Due(rule="blocks", slots=1, released=17, cursor=20)  # 20, less three confirmations
    assert await other.journal.claim([held]) == [[]], "its cursor is history"
    assert await world.claim("blocks", released=11, cursor=14) == []
    assert [task.id for task in await world.claim("blocks", released=14, cursor=14)] == [1]


# Sending


async def test_what_one_sends_the_other_does_not(world: World, other: Another) -> None:
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)))
    await world.execute("blocks")
    assert [parcel.id for parcel in await world.hand_out(1)] == [1]
    assert [parcel.id for parcel in await other.hand_out()] == [2]
    assert await world.hand_out() == []
    await world.accept(await world.hand_out())
    await world.journal.take_back([sent(1)])
    await other.journal.take_back([sent(2)])
    assert world.states() == ["accepted"] * 2


async def test_what_was_in_the_hands_of_a_dead_sender_is_sent_again_as_it_was(world: World, other: Another) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    (first,) = await world.hand_out()
    lapse(world.place)
    (again,) = await other.hand_out()
    assert (again.payload, again.fresh) == (first.payload, False)
    await world.journal.take_back([sent(1, State.FAILED, error="late")])
    assert world.states() == ["ready"], "its claim is the other's"
    await other.journal.take_back([sent(1)])
    assert world.states() == ["accepted"]


async def test_a_send_that_may_have_begun_is_no_secret_from_a_reorg_of_the_other(world: World, other: Another) -> None:
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)))
    await world.execute("blocks")
    await world.hand_out(1)
    await other.follow()
    written = await other.fork(block(START), to=block(11, "b"))
    assert (written.cancelled, written.orphaned) == (1, 1)
    assert [(row["state"], bool(row["orphaned"])) for row in world.rows().values()] == [
        ("ready", True),
        ("cancelled", False),
    ]
    assert await world.hand_out() == []


async def test_a_first_send_is_one_whoever_signed_it(world: World, other: Another) -> None:
    """ "Already known" on a first send betrays a stranger; on another one it is what we hope for."""
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    (parcel,) = await other.hand_out()
    assert parcel.fresh
    assert parcel.sent_at is None


# Chains


async def test_the_others_reorg_takes_a_running_task_away(world: World, other: Another) -> None:
    await world.walk(fired("blocks", block(11)))
    claimed = await world.claim("blocks")
    await other.follow()
    assert (await other.fork(block(START), to=block(11, "b"))).cancelled == 1
    assert await world.sign(claimed) == {}
    assert world.states() == ["cancelled"]


async def test_who_is_slower_writes_nothing_and_goes_on_from_where_the_other_is(world: World, other: Another) -> None:
    woken: list[object] = []
    other.journal.on_pending = woken.append
    await world.walk(fired("blocks", block(11)), to=block(12), final=5)
    with pytest.raises(Overtaken, match="the cursor is not at block 10"):
        await other.walk(fired("blocks", block(11)), event("events", block(11)))
    assert world.states() == ["pending"]
    assert other.journal.cursors[CHAIN] == block(12).cursor
    assert other.journal.frontiers[CHAIN].final == 5
    assert woken == [None], "there may be tasks that it did not write"
    other.cursor = block(12).cursor
    await other.walk(event("events", block(13)))
    assert world.states() == ["pending"] * 2


async def test_a_step_that_comes_too_late_leaves_the_rest_of_its_transaction_alone(
    world: World, other: Another
) -> None:
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)))
    claimed = await other.claim("blocks")

    async def late() -> None:
        with pytest.raises(Overtaken):
            await other.walk(fired("blocks", block(11)))

    gate = threading.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(other.journal._writer.run(lambda _connection: gate.wait(5)))
        await asyncio.sleep(0.02)
        signing = group.create_task(other.sign(claimed))
        group.create_task(late())
        await asyncio.sleep(0.02)
        gate.set()  # both wait now, and become one transaction
    assert signing.result() == {1: State.READY, 2: State.READY}


async def test_two_that_begin_a_chain_at_once_begin_it_once(database: Url) -> None:
    async with opened(database) as one, opened(database) as two:
        rules = {"a": "1", "b": "1"}
        rows = await asyncio.gather(
            one.begin_chain(chain_row(block(30).cursor), rules, 3),
            two.begin_chain(chain_row(block(40).cursor), rules, 3),
        )
        assert rows[0] == rows[1] == await one.chain(CHAIN)
        adopted = await asyncio.gather(*[each.adopt_rules(CHAIN, rules) for each in (one, two)])
        assert adopted == [{"a": 3, "b": 3}] * 2


async def test_many_that_open_an_empty_database_at_once_make_one_journal(database: Url) -> None:
    change(database, "DROP SCHEMA public CASCADE")
    change(database, "CREATE SCHEMA public")
    async with opened(database) as one:
        assert await one.chain(CHAIN) is None
    journals = await asyncio.gather(*[Journal.open(database, RULES) for _ in range(4)])
    await asyncio.gather(*[journal.close() for journal in journals])


async def test_everything_at_once_by_two_is_done_once(world: World, other: Another) -> None:
    """Each walks, executes and sends as fast as it can."""
    last, executed, handed = START + 60, [], []

    async def walk(process: Another | World) -> None:
        while process.journal.cursors[CHAIN].number < last:
            process.cursor = process.journal.cursors[CHAIN]
            with suppress(Overtaken):
                await process.walk(fired("blocks", block(process.cursor.number + 1)))

    async def run(process: World) -> None:
        while len(executed) < 60:
            mine: list[Claimed] = await process.claim("blocks", slots=3)
            executed.extend(await process.sign(mine))

    async def send(process: World) -> None:
        while len(handed) < 60:
            mine = await process.hand_out(2)
            handed.extend(parcel.id for parcel in mine)
            await process.accept(mine)

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for process in (world, other):
            for work in (walk, run, send):
                group.create_task(work(process))
    rows = world.rows()
    assert len(rows) == 60
    assert sorted(executed) == sorted(handed) == sorted(rows)
    assert {(row["state"], row["attempts"], row["sends"]) for row in rows.values()} == {("accepted", 1, 1)}


@asynccontextmanager
async def opened(place: Url) -> AsyncIterator[Journal]:
    journal = await Journal.open(place, RULES)
    try:
        yield journal
    finally:
        await journal.close()


# Alone


async def test_who_must_be_alone_is_told_who_is_not_away(world: World) -> None:
    with pytest.raises(JournalError, match=r"in use by listener \d+ on .* \(backend \d+\); stop it first"):
        await Journal.open(world.place, RULES, alone=True)
    await world.walk(fired("blocks", block(11)))


async def test_nobody_begins_beside_one_that_must_be_alone(database: Url) -> None:
    alone = await Journal.open(database, RULES, alone=True)
    try:
        with pytest.raises(JournalError, match=r"held by listener \d+ on .* alone; start again when it has ended"):
            await Journal.open(database, RULES)
    finally:
        await alone.close()
    await (await Journal.open(database, RULES)).close()
