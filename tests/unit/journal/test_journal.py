"""The journal as a whole: what it said is written is there after a kill, and who waits is woken."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from world import CHAIN, RULES, START, World, block, event, fired, lapse, query, sent, word_of

from listener.config import Url
from listener.errors import JournalError
from listener.journal import Journal
from listener.model import State

# Walks, executes and sends for ever, and says on stdout what the journal told it is written.
CHILD = """
import asyncio, sys
sys.path.insert(0, {folder!r})
from world import World, block, event, fired, place_of

async def main():
    async with World(place_of(sys.argv[1])) as world:
        print("begun", flush=True)
        for number in range(11, 100_000):
            await world.walk(fired("blocks", block(number)), event("events", block(number), tx=number))
            print("walked", number, block(number).hash.hex(), flush=True)
            claimed = await world.claim("events") + await world.claim("blocks")
            for task_id, state in (await world.sign(claimed)).items():
                print("signed", task_id, flush=True)
            parcels = await world.hand_out(1)
            for parcel in parcels:
                print("sending", parcel.id, parcel.payload.digest.hex(), parcel.payload.signature.hex(), flush=True)
            if number % 3:
                await world.accept(parcels)
                for parcel in parcels:
                    print("accepted", parcel.id, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("after_lines", [3, 40, 400])
async def test_what_was_said_to_be_written_is_there_after_a_kill(place: Path | Url, after_lines: int) -> None:
    script = CHILD.format(folder=str(Path(__file__).parents[1]))
    with subprocess.Popen(  # noqa: S603, ASYNC220 - our own interpreter and script, and nothing else runs here
        [sys.executable, "-c", script, word_of(place)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(after_lines)]
        child.send_signal(signal.SIGKILL)
        said += [line for line in child.stdout.readlines() if line.endswith("\n")]
    words = [line.split() for line in said]
    rows = {row["id"]: row for row in query(place, "SELECT * FROM tasks")}
    (chain,) = query(place, "SELECT number, hash FROM chains")

    walked = [word for word in words if word[0] == "walked"]
    if walked:
        assert chain["number"] >= int(walked[-1][1])
    assert len(rows) == 2 * (chain["number"] - START), "the rows and the cursor are one"
    for word in words:
        if word[0] == "signed":
            assert rows[int(word[1])]["digest"] is not None
        if word[0] == "sending":
            row = rows[int(word[1])]
            assert (row["digest"].hex(), row["signature"].hex()) == (word[2], word[3])
        if word[0] == "accepted":
            assert rows[int(word[1])]["state"] == "accepted"

    # A new process takes over at once, and sends what the old one had in hand as it was.
    lapse(place)
    journal = await Journal.open(place, RULES)
    running, ready = await journal.recover({})
    assert running == sum(row["state"] == "running" for row in rows.values())
    assert ready == sum(row["state"] == "ready" for row in rows.values())
    for parcel in await journal.hand_out(1000):
        assert (parcel.payload.digest, parcel.payload.signature) == (
            rows[parcel.id]["digest"],
            rows[parcel.id]["signature"],
        )
        assert not parcel.fresh
    await journal.close()


async def test_a_journal_is_read_by_others_while_it_is_open(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    assert world.states() == ["pending"]


async def test_what_happens_at_the_same_time_happens_one_after_the_other(world: World) -> None:
    """Claims, results, hand-outs and steps from four loops: no task is lost or taken twice."""
    blocks, claimed, handed = 60, [], []

    async def walk() -> None:
        for number in range(START + 1, START + 1 + blocks):
            await world.walk(fired("blocks", block(number)))

    async def run() -> None:
        while len(claimed) < blocks:
            mine = await world.claim("blocks", slots=3)
            claimed.extend(task.id for task in mine)
            await world.sign(mine)

    async def send() -> None:
        while len(handed) < blocks:
            mine = await world.hand_out(2)
            handed.extend(parcel.id for parcel in mine)
            await world.accept(mine)

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for work in (walk, run, run, send, send):
            group.create_task(work())
    assert sorted(claimed) == sorted(handed) == list(range(1, blocks + 1))
    assert set(world.states()) == {"accepted"}


async def test_the_submitter_is_woken_by_a_signature_and_by_what_comes_back(world: World) -> None:
    heard: list[str] = []
    world.journal.on_ready = lambda: heard.append("ready")
    await world.walk(event("events", block(11)))
    assert heard == []
    await world.execute("events")
    assert heard == ["ready"]
    await world.hand_out()
    await world.journal.take_back([sent(1, State.READY)])
    await world.fork(block(START), to=block(11, "b"))
    assert heard == ["ready"]
    await world.walk(event("events", block(12, "b")))
    assert heard == ["ready"] * 2, "its cause came back"
    await world.fork(block(START), event("events", block(11)))
    assert heard == ["ready"] * 3, "its block came back"


async def test_the_frontier_is_known_after_each_step(world: World) -> None:
    await world.walk(to=block(20), final=15)
    assert world.journal.cursors[CHAIN] == block(20).cursor
    assert (world.journal.frontiers[CHAIN].head, world.journal.frontiers[CHAIN].final) == (20, 15)


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_a_full_disk_is_said_and_leaves_nothing_half_written(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    pages = query(world.place, "PRAGMA page_count")[0]["page_count"]
    await world.journal._writer.run(lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}"))
    occasions = [event("events", block(12), index=index, data=bytes(1000)) for index in range(200)]
    with pytest.raises(JournalError, match="full"):
        await world.walk(*occasions)
    assert world.written_cursor() == block(11).cursor
    assert len(world.rows()) == 1
    await world.journal._writer.run(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 100000"))
    world.cursor = block(11).cursor
    assert (await world.walk(*occasions)).appended == 200


async def level_beside(world: World, work: Callable[[], Awaitable[object]]) -> int:
    """Return how SQLite syncs the commit that this work is part of: 2 waits for the disk, 1 does not."""
    gate = threading.Event()
    writer = world.journal._writer
    async with asyncio.TaskGroup() as group:
        group.create_task(writer.run(lambda _connection: gate.wait(5)))
        await asyncio.sleep(0.02)
        group.create_task(ignored(work()))
        level = group.create_task(
            writer.run(lambda connection: connection.exec_driver_sql("PRAGMA synchronous").scalar_one())
        )
        await asyncio.sleep(0.02)
        gate.set()
    return int(level.result())


async def ignored(work: Awaitable[object]) -> None:
    await work


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_a_payload_waits_for_the_disk_before_it_is_said_to_be_written(world: World) -> None:
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)))
    claimed = await world.claim("blocks")
    assert await level_beside(world, lambda: world.sign(claimed[:1])) == 2
    assert await level_beside(world, lambda: world.walk(to=block(13))) == 1, "a walk is walked again"
    assert await level_beside(world, lambda: world.sign(claimed[1:])) == 2
    assert await level_beside(world, world.send_all) == 1, "an answer that is lost is asked for again"
