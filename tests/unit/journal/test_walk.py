"""A step of the walk is written whole or not at all, and what it appends is there once."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import CHAIN, CHAIN_ID, START, World, block, chain_row, event, fired, hashed

from listener.errors import Overtaken
from listener.journal.pairs import packed, unpacked
from listener.model import Log


async def test_a_trigger_becomes_a_pending_row_with_all_that_is_known_of_it(world: World) -> None:
    occasion = event("events", block(11), tx=7, index=5, data=b"hello")
    written = await world.walk(occasion)
    assert written.appended == 1
    row = world.row()
    assert row["key"] == occasion.key(CHAIN_ID)
    assert (row["rule"], row["state"], row["trigger"], row["chain"]) == ("events", "pending", "event", CHAIN)
    assert (row["block_number"], row["block_hash"]) == (11, block(11).hash)
    assert row["block_timestamp"] == block(11).timestamp
    assert (row["transaction_hash"], row["log_index"]) == (hashed("tx7"), 5)
    assert row["task_definition_id"] == 3
    assert (row["attempts"], row["sends"], row["claim"], row["not_before"]) == (0, 0, 0, 0)
    assert (row["canonical"], row["orphaned"], row["already_known"]) == (1, 0, 0)
    nothing_yet = ("epoch", "proof_of_task", "data", "performer", "digest", "signature", "sent_at", "accepted_at")
    assert [row[name] for name in nothing_yet] == [None] * len(nothing_yet)


async def test_the_cursor_moves_with_the_rows_in_one_step(world: World) -> None:
    await world.walk(fired("blocks", block(11)), fired("blocks", block(13)))
    assert world.written_cursor() == block(13).cursor
    assert world.remembered() == [10, 11, 12, 13]
    assert world.journal.cursors[CHAIN] == block(13).cursor


async def test_a_step_without_triggers_moves_the_cursor_alone(world: World) -> None:
    assert (await world.walk(to=block(11))).appended == 0
    assert world.written_cursor() == block(11).cursor
    assert world.rows() == {}


async def test_a_log_that_comes_twice_in_one_step_is_one_row(world: World) -> None:
    twice = event("events", block(11), index=3)
    assert (await world.walk(twice, twice)).appended == 1
    assert len(world.rows()) == 1


@pytest.mark.parametrize("state", ["pending", "running", "ready", "accepted"])
async def test_an_append_that_meets_its_own_key_leaves_the_row_as_it_is(world: World, state: str) -> None:
    occasion = fired("blocks", block(11))
    await world.walk(occasion)
    if state != "pending":
        claimed = await world.claim("blocks")
        if state != "running":
            await world.sign(claimed)
    if state == "accepted":
        await world.send_all()
    before = world.row()
    assert before["state"] == state
    written = await world.walk(occasion, fired("blocks", block(12)), to=block(12))
    assert written.appended == 1
    assert world.row() == before
    assert len(world.rows()) == 2


async def test_a_repeated_append_after_a_reorg_elsewhere_is_one_row_too(world: World) -> None:
    occasion = event("events", block(11))
    await world.walk(occasion, event("events", block(12), tx=2))
    await world.fork(block(11), to=block(12, "b"))
    before = world.row()
    assert (await world.walk(occasion, to=block(13, "b"))).appended == 0
    assert world.row() == before


async def test_a_step_from_another_place_than_the_cursor_is_refused_and_nothing_is_written(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    before = world.rows(), world.written_cursor(), world.remembered()
    world.cursor = block(12).cursor
    with pytest.raises(Overtaken, match=r"chain l2: the cursor is .*not at block 12"):
        await world.walk(fired("blocks", block(13)))
    assert (world.rows(), world.written_cursor(), world.remembered()) == before
    assert world.journal.cursors[CHAIN] == block(11).cursor


async def test_a_step_from_the_right_number_on_another_branch_is_refused(world: World) -> None:
    await world.walk(to=block(11))
    world.cursor = block(11, "b").cursor
    with pytest.raises(Overtaken, match="cursor"):
        await world.fork(block(START), fired("blocks", block(12, "b")))
    assert world.written_cursor() == block(11).cursor
    assert world.rows() == {}


async def test_a_step_of_a_chain_that_never_began_is_refused(world: World) -> None:
    step = world.step([], block(11))
    for name in ("other", ""):
        with pytest.raises(Overtaken, match=f"chain {name}: the cursor"):
            await world.journal.write(type(step)(**{**fields(step), "chain": name}), CHAIN_ID)


def fields(step: object) -> dict[str, object]:
    return {name: getattr(step, name) for name in type(step).__dataclass_fields__}  # type: ignore[attr-defined]


async def test_two_chains_do_not_touch_each_other(world: World) -> None:
    await world.journal.begin_chain(chain_row(name="l1"), {}, "latest")
    await world.walk(fired("blocks", block(11)), to=block(12))
    step = world.step([fired("blocks", block(11))], block(11))
    other = type(step)(**{**fields(step), "chain": "l1", "after": block(START).cursor, "blocks": [block(11)]})
    await world.journal.write(other, chain_id=1)
    assert [row["chain"] for row in world.rows().values()] == ["l2", "l1"]
    gone = type(step)(
        **{**fields(other), "after": block(11).cursor, "cursor": block(11, "b").cursor, "occasions": ()},
    )
    gone = type(step)(**{**fields(gone), "ancestor": block(START).cursor, "blocks": [block(11, "b")]})
    assert (await world.journal.write(gone, chain_id=1)).cancelled == 1
    assert world.states() == ["pending", "cancelled"]


async def test_hashes_of_final_blocks_are_forgotten_and_those_above_are_kept(world: World) -> None:
    await world.walk(to=block(60))
    await world.walk(to=block(130), final=100)
    assert world.remembered() == list(range(100, 131))


async def test_a_step_with_thousands_of_triggers_is_written_whole(world: World) -> None:
    at = block(11)
    written = await world.walk(*[event("events", at, tx=n // 10, index=n) for n in range(5000)])
    assert written.appended == 5000
    rows = world.rows()
    assert [row["log_index"] for row in rows.values()] == list(range(5000))
    # … and can leave and come back whole
    assert (await world.fork(block(START), to=block(11, "b"))).cancelled == 5000
    again = await world.fork(block(START), *[event("events", at, tx=n // 10, index=n) for n in range(5000)])
    assert (again.revived, again.appended) == (5000, 0)


async def test_the_journals_own_wake_ups_name_the_rules_with_news(world: World) -> None:
    heard: list[object] = []
    world.journal.on_pending = lambda rules: heard.append(None if rules is None else set(rules))
    await world.walk(fired("blocks", block(11)), event("events", block(12)))
    await world.walk(to=block(13))
    await world.fork(block(START), to=block(11, "b"))
    await world.fork(block(START), to=block(13))
    assert heard == [{"blocks", "events"}, set(), set(), None]


_bytes32 = st.binary(min_size=32, max_size=32)


@given(
    address=st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex()),
    topics=st.lists(_bytes32, max_size=4).map(tuple),
    data=st.binary(max_size=200),
    place=st.tuples(st.integers(0, 2**60), _bytes32, _bytes32, st.integers(0, 2**31 - 1)),
)
def test_a_stored_log_is_read_back_as_it_was(
    address: str, topics: tuple[bytes, ...], data: bytes, place: tuple[int, bytes, bytes, int]
) -> None:
    log = Log(address, topics, data, *place)
    assert unpacked(packed(log), *place) == log


def test_only_equal_content_is_stored_as_equal_bytes() -> None:
    contents = list(itertools.product(["0xaa", "0xab"], [(), (b"a",), (b"a", b"b"), (b"ab",)], [b"", b"x", b"ab"]))
    logs = [Log(address, topics, data, 1, b"", b"", 0) for address, topics, data in contents]
    assert len({packed(log) for log in logs}) == len(logs)
    elsewhere = Log("0xaa", (b"a",), b"x", 2, b"other", b"other", 9)
    assert packed(elsewhere) == packed(Log("0xaa", (b"a",), b"x", 1, b"", b"", 0))
