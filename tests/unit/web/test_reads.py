"""What the API shows is what the command line shows, in pages, and what does not fit is named."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from serving import Served, is_refusal, serving
from world import World, block, event, fired

from listener.config import Url
from listener.journal import incidents, rows
from listener.journal.database import listing
from listener.journal.readings import Readings
from listener.web.reads import Reads

either_journal = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | Url:
    if getattr(request, "param", "sqlite") == "sqlite":
        return tmp_path / "listener.db"
    url: Url = request.getfixturevalue("database")
    return url


@asynccontextmanager
async def reads(world: World) -> AsyncIterator[Served]:
    readings = Readings(world.place)
    async with serving(*Reads(readings).routes) as served:
        yield served
    readings.close()


async def some_tasks(world: World) -> None:
    """Ten tasks in blocks 11 to 15: of each block one of a block rule and one of an event rule."""
    for number in range(11, 16):
        await world.walk(fired("blocks", block(number)), event("events", block(number)))
    await world.execute("blocks")
    await world.send_all()


@either_journal
async def test_a_list_holds_the_rows_that_the_command_line_shows(world: World) -> None:
    await some_tasks(world)
    async with reads(world) as served:
        status, answer = await served.ask("GET", "/api/tasks")
        with listing(world.place) as connection:
            assert (status, answer) == (200, {"data": list(rows.list_tasks(connection, rows.Filter())), "next": None})
        assert len(answer["data"]) == 10
        for row in answer["data"]:
            assert await served.ask("GET", f"/api/tasks/{row['id']}") == (200, row)
        assert (await served.ask("GET", "/api/chains"))[1] == {
            "data": [
                {
                    "name": "l2",
                    "chain_id": 31337,
                    "cursor": 15,
                    "cursor_hash": "0x" + block(15).hash.hex(),
                    "head": 15,
                    "lag": 0,
                    "state": "following",
                    "error": None,
                    "updated_at": (await served.ask("GET", "/api/chains"))[1]["data"][0]["updated_at"],
                }
            ],
            "next": None,
        }


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ("state=accepted", [1, 3, 5, 7, 9]),
        ("state=accepted&state=pending&limit=3", [1, 2, 3]),
        ("rule=events", [2, 4, 6, 8, 10]),
        ("rule=nobody", []),
        ("block=12", [3, 4]),
        ("block=12..13", [3, 4, 5, 6]),
        ("since=2020-01-01T00:00:00Z&until=2020-01-02T00:00:00Z", []),
        ("since=2020-01-01T00:00:00Z", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ("order=newest&limit=2", [10, 9]),
        ("order=newest&cursor=9&rule=blocks", [7, 5, 3, 1]),
        ("cursor=8", [9, 10]),
    ],
)
async def test_filters_choose_and_order_rows(world: World, query: str, ids: list[int]) -> None:
    await some_tasks(world)
    async with reads(world) as served:
        status, answer = await served.ask("GET", f"/api/tasks?{query}")
        assert (status, [row["id"] for row in answer["data"]]) == (200, ids)


@either_journal
@pytest.mark.parametrize("order", ["oldest", "newest"])
async def test_pages_hold_every_row_once_though_rows_come_meanwhile(world: World, order: str) -> None:
    await some_tasks(world)
    async with reads(world) as served:
        seen: list[int] = []
        cursor = ""
        while True:
            _, answer = await served.ask("GET", f"/api/tasks?limit=4&order={order}{cursor}")
            seen += [row["id"] for row in answer["data"]]
            if len(seen) == 4:
                await world.walk(fired("blocks", block(16)))
            if answer["next"] is None:
                break
            cursor = f"&cursor={answer['next']}"
    assert seen == (list(range(1, 12)) if order == "oldest" else list(range(10, 0, -1)))


@either_journal
async def test_incidents_are_listed_like_tasks(world: World) -> None:
    await world.journal.lose("l2", "gone")
    await world.journal.regain("l2")
    await world.journal.halt("l2", "left us")
    async with reads(world) as served:
        _, answer = await served.ask("GET", "/api/incidents")
        with listing(world.place) as connection:
            assert answer == {"data": list(incidents.rows(connection, incidents.Wanted())), "next": None}
        kinds = [row["kind"] for row in answer["data"]]
        assert "reconnect" in kinds
        _, answer = await served.ask("GET", "/api/incidents?kind=reconnect&chain=l2&limit=1&order=newest")
        assert [row["kind"] for row in answer["data"]] == ["reconnect"]
        assert (await served.ask("GET", "/api/incidents?chain=other"))[1]["data"] == []
        assert (await served.ask("GET", "/api/chains"))[1]["data"][0]["state"] == "halted"


@either_journal
async def test_the_status_counts_tasks_and_shows_the_last_errors(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await some_tasks(world)
    world.change("UPDATE tasks SET state = 'failed', error = 'no luck' WHERE id IN (2, 4, 10)")
    async with reads(world) as served:
        _, answer = await served.ask("GET", "/api/status")
        assert (answer["error"], answer["message"]) == (False, None)
        found = answer["data"]
        assert found["tasks"] == {"blocks": {"accepted": 5}, "events": {"failed": 3, "pending": 2}}
        assert [(row["id"], row["error"]) for row in found["errors"]] == [
            (10, "no luck"),
            (4, "no luck"),
            (2, "no luck"),
        ]
        assert [chain["name"] for chain in found["chains"]] == ["l2"]
        monkeypatch.setattr(rows, "RECENT", 2)  # the older ones count only where they are open
        found = (await served.ask("GET", "/api/status"))[1]["data"]
        assert found["tasks"] == {"blocks": {"accepted": 1}, "events": {"failed": 1, "pending": 2}}
        assert [row["id"] for row in found["errors"]] == [10]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/api/tasks/11", 404, "there is no task 11"),
        ("/api/tasks/999999999999999999", 404, "there is no task 999999999999999999"),
        ("/api/tasks/9999999999999999999", 400, "id: string should match pattern"),
        ("/api/tasks/-1", 400, "id: string should match pattern"),
        ("/api/tasks/%D9%A3", 400, "id: string should match pattern"),
        ("/api/tasks/1?x=1", 400, "x: extra inputs are not permitted"),
        ("/api/tasks?limit=0", 400, "limit: input should be greater than or equal to 1"),
        ("/api/tasks?limit=1&limit=2", 400, "limit: given 2 times; once is enough"),
        ("/api/tasks?state=done", 400, "state.0: input should be 'pending', "),
        ("/api/tasks?block=1-2", 400, "block: string should match pattern"),
        ("/api/tasks?block=99999999999999999999", 400, "block: string should match pattern"),
        ("/api/tasks?cursor=9223372036854775808", 400, "cursor: input should be less than or equal to"),
        ("/api/tasks?since=yesterday", 400, "since: input should be a valid datetime"),
        ("/api/tasks?since=0001-01-01T00:00:00%2B23:00", 200, ""),
        ("/api/tasks?rule=%00", 400, "rule: string should match pattern"),
        ("/api/tasks?rule=%ff", 400, "rule: string should match pattern"),
        ("/api/incidents?kind=fire", 400, "kind.0: input should be 'gap', "),
        ("/api/chains?limit=1", 400, "limit: extra inputs are not permitted"),
    ],
)
async def test_what_does_not_fit_is_named(world: World, path: str, status: int, message: str) -> None:
    async with reads(world) as served:
        found, answer = await served.ask("GET", path)
        assert found == status
        if status != 200:
            assert is_refusal(answer)
            assert answer["message"].startswith(message)


async def test_a_slow_read_keeps_nobody_waiting_but_other_reads(world: World) -> None:
    await some_tasks(world)
    readings = Readings(world.place)
    begun, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(_connection: Any) -> str:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(20)
        return "read"

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(readings.read(slow))
        await begun.wait()
        await world.walk(fired("blocks", block(16)))  # the writer writes meanwhile
        go_on.set()
    assert reading.result() == "read"
    readings.close()


async def test_a_journal_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    readings = Readings(tmp_path / "nowhere" / "listener.db")
    async with serving(*Reads(readings).routes) as served:
        status, answer = await served.ask("GET", "/api/tasks")
        assert status == 503
        assert is_refusal(answer)
    readings.close()
