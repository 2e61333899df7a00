"""Incidents: one row for one trouble, repeats counted, what lasts is open until it ends."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine
from world import CHAIN, World, block, query

from listener import logs
from listener.journal import incidents
from listener.journal.incidents import FIELDS, Kind, Wanted
from listener.journal.schema import metadata

T = 1_700_000_000_000_000
MINUTE = 60_000_000


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as opened:
        yield opened
    engine.dispose()


def listed(connection: Connection, **wanted: Any) -> list[dict[str, Any]]:
    return list(incidents.rows(connection, Wanted(**wanted)))


def reorg(connection: Connection, now: int, first: int, last: int, chain: str = "l2") -> None:
    incidents.record(
        connection,
        kind=Kind.REORG,
        chain=chain,
        now=now,
        from_block=first,
        to_block=last,
        depth=last - first + 1,
        detail="it changed",
    )


def test_a_row_has_the_fields_that_scripts_rely_on(connection: Connection) -> None:
    reorg(connection, T, 7, 9)
    (row,) = listed(connection)
    assert tuple(row) == FIELDS
    assert row == {
        "id": 1,
        "kind": "reorg",
        "chain": "l2",
        "started_at": "2023-11-14T22:13:20.000000Z",
        "ended_at": "2023-11-14T22:13:20.000000Z",
        "from_block": 7,
        "to_block": 9,
        "depth": 3,
        "count": 1,
        "detail": "it changed",
    }


def test_repeats_within_a_minute_of_the_last_are_counted_and_span_the_blocks_of_all(connection: Connection) -> None:
    reorg(connection, T, 7, 9)
    reorg(connection, T + MINUTE, 5, 6)
    reorg(connection, T + 2 * MINUTE, 12, 13)
    (row,) = listed(connection)
    assert (row["from_block"], row["to_block"], row["depth"], row["count"]) == (5, 13, 3, 3)
    assert (row["started_at"][14:19], row["ended_at"][14:19]) == ("13:20", "15:20")


def test_a_later_one_another_chain_and_another_kind_are_rows_of_their_own(connection: Connection) -> None:
    reorg(connection, T, 7, 9)
    reorg(connection, T, 7, 9, chain="l1")
    incidents.record(connection, kind=Kind.GAP, chain="l2", now=T, detail="")
    reorg(connection, T + MINUTE + 1, 7, 9)
    assert [row["count"] for row in listed(connection)] == [1, 1, 1, 1]


def test_what_lasts_is_open_until_it_ends_and_stays_the_same_row(connection: Connection) -> None:
    incidents.record(connection, kind=Kind.HALT, chain="l2", now=T, detail="it left us")
    incidents.record(connection, kind=Kind.HALT, chain="l2", now=T + 9 * MINUTE, detail="still")
    (row,) = listed(connection)
    assert (row["ended_at"], row["count"], row["detail"]) == (None, 2, "still")
    incidents.end(connection, kind=Kind.HALT, chain="l1", now=T + 9 * MINUTE)
    incidents.end(connection, kind=Kind.RECONNECT, chain="l2", now=T + 9 * MINUTE)
    assert listed(connection) == [row]
    for later in (10, 11):  # the second finds none to end
        incidents.end(connection, kind=Kind.HALT, chain="l2", now=T + later * MINUTE)
    (row,) = listed(connection)
    assert row["ended_at"] == "2023-11-14T22:23:20.000000Z"


def test_one_that_comes_back_within_a_minute_is_open_again(connection: Connection) -> None:
    for moment in (T, T + 10 * MINUTE):
        incidents.record(connection, kind=Kind.RECONNECT, chain="l2", now=moment, detail="lost")
        incidents.end(connection, kind=Kind.RECONNECT, chain="l2", now=moment + 8 * MINUTE)
    incidents.record(connection, kind=Kind.RECONNECT, chain="l2", now=T + 20 * MINUTE, detail="lost")
    assert [(row["count"], row["ended_at"] is None) for row in listed(connection)] == [
        (1, False),
        (1, False),
        (1, True),
    ]
    incidents.end(connection, kind=Kind.RECONNECT, chain="l2", now=T + 21 * MINUTE)
    incidents.record(connection, kind=Kind.RECONNECT, chain="l2", now=T + 22 * MINUTE, detail="lost")
    assert [(row["count"], row["ended_at"] is None) for row in listed(connection)][2:] == [(2, True)]


def test_a_listing_takes_kinds_a_chain_and_a_time(connection: Connection) -> None:
    reorg(connection, T, 7, 9)
    reorg(connection, T + 5 * MINUTE, 7, 9, chain="l1")
    incidents.record(connection, kind=Kind.HALT, chain="l2", now=T, detail="")
    assert [row["id"] for row in listed(connection, kinds=["reorg"])] == [1, 2]
    assert [row["id"] for row in listed(connection, kinds=["reorg", "halt"], chain="l2")] == [1, 3]
    assert [row["id"] for row in listed(connection, since=T + 1)] == [2, 3]  # the halt lasts


def test_a_detail_is_cleaned_of_secrets(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incidents, "redacted", lambda text: logs.redacted(text).replace("s3cret", "***"))
    for moment in (T, T + 1):
        incidents.record(connection, kind=Kind.HALT, chain="l2", now=moment, detail="ws://node/s3cret")
        assert listed(connection)[0]["detail"] == "ws://node/***"


async def test_a_halt_that_a_dead_process_left_open_ends_with_the_next_step(world: World) -> None:
    await world.journal.halt(CHAIN, "it left us")
    await world.restart()
    assert [row["ended_at"] for row in query(world.place, "SELECT ended_at FROM incidents")] == [None]
    await world.walk(to=block(11))
    assert [row["ended_at"] is None for row in query(world.place, "SELECT ended_at FROM incidents")] == [False]
