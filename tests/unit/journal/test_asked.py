"""What no block makes is journaled once for each cause, at the chain's cursor, and no block takes it along."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from world import (
    ALL_RULES,
    ASKED,
    CHAIN,
    CHAIN_ID,
    START,
    World,
    block,
    chain_row,
    event,
    fired,
    frontier,
    query,
    until,
)

from listener import metrics
from listener.config import Url
from listener.journal import Asked, Claimed, Journal, Sweep
from listener.model import Cursor

DUE = 1_700_000_500


def open_rows(world: World) -> list[Any]:
    return [(row["state"], row["canonical"], row["orphaned"]) for row in world.rows().values() if row["rule"] == ASKED]


async def test_it_is_a_pending_row_at_the_chains_cursor(world: World) -> None:
    await world.walk(to=block(12))
    assert await world.ask(body={"amount": 2**255, "to": "\ud800"}) == (1, True, True)
    row = world.row()
    assert (row["state"], row["trigger"], row["rule"], row["task_definition_id"]) == ("pending", "http", ASKED, 5)
    assert (row["block_number"], row["block_hash"]) == (12, block(12).hash)
    assert (row["block_timestamp"], row["ages_from"], row["due"]) == (block(12).timestamp, DUE, DUE)
    (task,) = await world.claim(ASKED)
    assert (task.due, task.body) == (DUE, f'{{"amount":{2**255},"to":"\\ud800"}}')


async def test_the_same_cause_is_the_same_task_and_says_whether_the_body_is_equal(world: World) -> None:
    body = {"a": 1, "b": [True, None]}
    assert await world.ask(body=body) == (1, True, True)
    await world.send_all()
    assert await world.ask(body={"b": [True, None], "a": 1}, due=DUE + 9) == (1, False, True)
    assert await world.ask(body={"a": 1}) == (1, False, False)
    assert await world.ask(body=None) == (1, False, False)
    assert [row["due"] for row in world.rows().values()] == [DUE]


async def test_another_cause_rule_or_kind_of_trigger_is_another_task(world: World) -> None:
    made = [
        await world.ask("one"),
        await world.ask("two"),
        await world.ask("one", trigger="schedule"),
        await world.ask("one", rule="blocks"),
        await world.ask("\ud800"),
    ]
    assert [each.is_new for each in made] == [True] * 5


async def test_no_cause_gives_the_key_of_a_block(world: World) -> None:
    at = block(11)
    await world.walk(fired("blocks", at))
    assert (await world.ask(f"{CHAIN_ID}|{at.hash.hex()}|", rule="blocks")).is_new


async def test_two_processes_that_ask_the_same_make_one_task(database: Url) -> None:
    async with World(database) as one, World(database) as other:
        made = await asyncio.gather(*(each.ask(trigger="schedule") for each in (one, other) * 4))
        assert sorted(each.is_new for each in made) == [False] * 7 + [True]
        assert len(one.rows()) == 1


async def test_it_waits_until_the_chain_has_a_cursor_whose_block_was_read(place: Path | Url) -> None:
    journal = await Journal.open(place, ALL_RULES)
    try:
        asked = Asked(rule=ASKED, chain=CHAIN, trigger="http", cause="one", due=DUE)
        answer = asyncio.ensure_future(journal.ask(asked))
        unread = Cursor(START, block(START).hash)  # the block before a numbered start: only its hash is known
        await journal.begin_chain(chain_row(unread), {}, "latest")
        journal.stand(CHAIN, unread, frontier(START))
        await journal.chain(CHAIN)  # the writer has looked again
        assert not answer.done()
        world = World(place)
        world.journal = journal
        await world.walk(to=block(11))
        assert (await asyncio.wait_for(answer, 20)).is_new
        assert world.row()["block_number"] == 11
    finally:
        await journal.close()


async def test_after_a_restart_the_written_cursor_is_enough(world: World) -> None:
    await world.walk(to=block(12))
    await world.restart()
    await world.ask()
    assert world.row()["block_timestamp"] == block(12).timestamp


async def test_what_http_asked_for_is_synced_before_it_is_answered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []
    transact = world.journal._writer._session.transact

    def watch(works: Any, *, durable: bool) -> Any:
        synced.append(durable)
        return transact(works, durable=durable)

    monkeypatch.setattr(world.journal._writer._session, "transact", watch)
    await world.ask("one")
    await world.ask("two", trigger="schedule")
    assert synced == [True, False]


async def test_a_claim_that_stands_brings_it_at_once_even_when_who_asked_has_gone(world: World) -> None:
    brought: list[Claimed] = []
    world.journal.on_claimed = brought.extend
    await world.claim(ASKED, received=0)
    asking = asyncio.ensure_future(world.ask())
    await asyncio.sleep(0)
    asking.cancel()
    await until(lambda: len(brought) == 1)
    assert world.states() == ["running"]


async def test_each_new_one_is_counted(world: World) -> None:
    counted = metrics.tasks_journaled.labels(CHAIN)._value
    before = counted.get()
    await world.ask("one")
    await world.ask("one")
    await world.ask("two")
    assert counted.get() - before == 2


async def test_without_a_standing_claim_the_runner_is_told_of_new_tasks_alone(world: World) -> None:
    told: list[Any] = []
    world.journal.on_pending = told.append
    await world.ask()
    await world.ask()
    assert told == [{ASKED}]


# A reorg, a rewind, the audit and the removal


async def test_a_reorg_leaves_it_alone_sent_or_not(world: World) -> None:
    await world.walk(fired("blocks", block(12)))
    await world.ask("sent")
    await world.execute(ASKED)
    await world.send_all()
    await world.ask("ready")
    await world.execute(ASKED)
    await world.ask("pending")
    before = open_rows(world)
    written = await world.fork(block(11), to=block(13, "b"))
    assert (written.cancelled, written.orphaned) == (1, 0)
    assert open_rows(world) == before
    await world.fork(block(11), to=block(14))  # and back again
    assert open_rows(world) == before


async def test_a_rewind_leaves_it_alone_whatever_the_chain_holds(world: World) -> None:
    await world.walk(fired("blocks", block(12)))
    await world.ask()
    assert await world.journal.open_blocks(CHAIN) == {block(12).hash: 12}
    before = open_rows(world)
    await world.journal.move_chain(chain_row(block(11).cursor), [block(12).hash])
    assert open_rows(world) == before
    assert await world.journal.open_blocks(CHAIN) == {}


async def test_the_audit_finds_logs_at_a_number_where_it_was_asked_on_a_block_that_left(world: World) -> None:
    await world.walk(to=block(12))
    await world.ask()
    await world.fork(block(11), to=block(12, "b"))
    world.change("DELETE FROM blocks")
    sweep = Sweep(chain=CHAIN, after=START, through=12, occasions=[event("events", block(12, "b"))])
    assert await world.journal.write_audit(sweep, CHAIN_ID) == 1


async def test_confirmations_do_not_count_for_it_in_a_shared_journal(database: Url) -> None:
    async with World(database) as world:
        await world.ask()
        assert len(await world.claim(ASKED)) == 1


async def test_it_is_removed_when_it_is_old_and_says_nothing_of_its_block(world: World) -> None:
    await world.walk(to=block(12))
    await world.ask("old")
    await world.execute(ASKED)
    await world.send_all()
    await world.walk(fired("blocks", block(13)))
    removed = await world.journal.remove_tasks(0, oldest=2**62)
    assert (removed.count, removed.chains) == (1, frozenset())
    assert query(world.place, "SELECT * FROM facts WHERE name LIKE 'removed%'") == []


async def test_one_that_has_expired_is_a_row_with_its_reason(world: World) -> None:
    await world.ask(trigger="schedule", expired="planned while nobody ran")
    row = world.row()
    assert (row["state"], row["error"]) == ("expired", "planned while nobody ran")
    assert row["settled_at"] == row["created_at"]
    assert await world.claim(ASKED) == []


def test_what_json_cannot_write_is_no_body() -> None:
    with pytest.raises(ValueError, match="JSON"):
        _ = Asked(rule="r", chain="c", trigger="http", cause="k", due=0, body=float("nan")).text
