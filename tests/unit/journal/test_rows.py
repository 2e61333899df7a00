"""Tasks and chains as scripts see them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from world import CHAIN, CHAIN_ID, NOW, SIGNER, START, World, block, chain_row, event, fired, hashed, sent

from listener.config import Url
from listener.journal import now_us
from listener.journal.database import open_engine
from listener.journal.rows import FIELDS, Filter, as_time, find_task, list_chains, list_tasks
from listener.model import State

# As promised to those who read them.
PROMISED = [
    "id",
    "key",
    "rule",
    "state",
    "trigger",
    "chain",
    "block_number",
    "block_hash",
    "epoch",
    "transaction_hash",
    "log_index",
    "task_definition_id",
    "proof_of_task",
    "data",
    "performer",
    "digest",
    "signature",
    "attempts",
    "sends",
    "orphaned",
    "already_known",
    "created_at",
    "sent_at",
    "accepted_at",
    "settled_at",
    "task_number",
    "outcome_transaction_hash",
    "error",
]


@pytest.fixture
def reader(world: World) -> Iterator[Connection]:
    engine = open_engine(world.place)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def listed(place: Path | Url, **wanted: Any) -> list[dict[str, Any]]:
    engine = open_engine(place)
    with engine.connect() as connection:
        found = list(list_tasks(connection, Filter(**wanted)))
    engine.dispose()
    return found


async def test_a_row_has_every_promised_field_and_no_other(world: World, reader: Connection) -> None:
    assert list(FIELDS) == PROMISED
    await world.walk(fired("blocks", block(11)))
    (row,) = list_tasks(reader, Filter())
    assert list(row) == PROMISED


async def test_a_finished_row_is_shown_in_the_forms_that_scripts_rely_on(world: World, reader: Connection) -> None:
    await world.walk(event("events", block(11), tx=3, index=8))
    await world.execute("events")
    await world.hand_out()
    await world.journal.take_back([sent(1, already_known=True)])
    row = find_task(reader, 1)
    assert row is not None
    stored = world.row()
    assert row["id"] == 1
    assert (row["block_hash"], row["transaction_hash"]) == (f"0x{block(11).hash.hex()}", f"0x{hashed('tx3').hex()}")
    assert row["data"] == "0x" + b"data".hex()
    assert (row["digest"], row["signature"]) == (f"0x{stored['digest'].hex()}", f"0x{stored['signature'].hex()}")
    assert row["performer"] == SIGNER.address
    assert re.fullmatch(r"0x[0-9a-f]{130}", row["signature"])
    assert (row["orphaned"], row["already_known"]) == (False, True)
    assert isinstance(row["orphaned"], bool)
    assert row["sent_at"] == "2023-11-14T22:13:20.000000Z"
    assert row["accepted_at"] == "2023-11-14T22:13:20.001000Z"
    assert (row["log_index"], row["epoch"], row["error"], row["task_number"]) == (8, None, None, None)


async def test_an_unknown_task_is_none(reader: Connection) -> None:
    assert find_task(reader, 7) is None


async def test_rows_come_oldest_first_and_all_of_them(world: World) -> None:
    await world.walk(*[fired("blocks", block(number)) for number in range(11, 1212)], to=block(1211))
    assert [row["id"] for row in listed(world.place)] == list(range(1, 1202))
    assert [row["id"] for row in listed(world.place, limit=3)] == [1, 2, 3]


async def test_rows_are_filtered_by_state_rule_and_block(world: World) -> None:
    await world.walk(*[fired("blocks", block(number)) for number in (11, 12, 13)], event("events", block(13)))
    await world.sign(await world.claim("blocks", slots=2))
    await world.accept(await world.hand_out(1))

    def ids(**wanted: Any) -> list[int]:
        return [row["id"] for row in listed(world.place, **wanted)]

    assert ids(states=["accepted"]) == [1]
    assert ids(states=["accepted", "pending"]) == [1, 3, 4]
    assert ids(states=["failed"]) == []
    assert ids(rule="events") == [4]
    assert ids(blocks=(12, 12)) == [2]
    assert ids(blocks=(12, 13)) == [2, 3, 4]
    assert ids(blocks=(13, 12)) == []
    assert ids(rule="blocks", blocks=(13, 20), states=["pending"]) == [3]


async def test_since_is_inclusive_and_until_is_not(world: World) -> None:
    before = now_us()
    await world.walk(fired("blocks", block(11)))
    created = world.row()["created_at"]
    assert before <= created <= now_us()
    assert len(listed(world.place, since=created)) == 1
    assert listed(world.place, since=created + 1) == []
    assert listed(world.place, until=created) == []
    assert len(listed(world.place, until=created + 1)) == 1


@pytest.mark.parametrize(
    ("micros", "shown"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (NOW + 1, "2023-11-14T22:13:20.000001Z"),
        (4_102_444_799_999_999, "2099-12-31T23:59:59.999999Z"),
    ],
)
def test_times_are_exact_to_the_microsecond(micros: int, shown: str) -> None:
    assert as_time(micros) == shown


async def test_chains_are_listed_by_name_with_their_lag_and_state(world: World, reader: Connection) -> None:
    await world.journal.begin_chain(chain_row(name="a-chain"), {}, "latest")
    await world.walk(to=block(11))
    await world.journal.halt(CHAIN, "it left us")
    first, second = list_chains(reader)
    assert (first["name"], first["cursor"], first["state"], first["error"]) == ("a-chain", START, "following", None)
    assert (second["name"], second["chain_id"], second["cursor"]) == (CHAIN, CHAIN_ID, 11)
    assert (second["cursor_hash"], second["lag"]) == (f"0x{block(11).hash.hex()}", 0)
    assert (second["state"], second["error"]) == ("halted", "it left us")


async def test_the_reason_of_every_end_is_shown(world: World) -> None:
    await world.walk(*[fired("blocks", block(number)) for number in (11, 12)])
    await world.execute("blocks", proof="same")
    await world.hand_out()
    await world.journal.take_back([sent(1, State.FAILED, error="too large")])
    first, second = listed(world.place)
    assert first["error"] == "too large"
    assert "same payload" in second["error"]
