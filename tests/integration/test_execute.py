"""A task that is asked for over HTTP is journaled before it is promised, once for each key, and its end is told."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from asking import ask, ready
from following import BLOCKS, Following, following, write_config

from listener.devnet.aggregator import Aggregator
from listener.testing import FakeNode
from listener.web import execute

ORDER = """
import os, pathlib, time
from pydantic import BaseModel, field_validator
from listener import TaskResult

class Item(BaseModel):
    price: int

class Body(BaseModel):
    name: str
    items: list[Item] = []
    pause_until: str | None = None

    @field_validator("name")
    @classmethod
    def _is_polite(cls, value):
        if value == "rude":
            raise ValueError("say please")
        if value == "broken":
            raise KeyError(value)
        while value == "hangs" and not pathlib.Path(__file__).with_name("gate").exists():
            time.sleep(0.01)
        return value

async def execute(ctx):
    import asyncio
    body = ctx.trigger.body
    if body.name == "nothing":
        return None
    if body.name == "fails":
        raise RuntimeError("no luck")
    while body.pause_until and not os.path.exists(body.pause_until):
        await asyncio.sleep(0.01)
    return TaskResult(f"{body.name}+{ctx.trigger.block_number}+{sum(item.price for item in body.items)}", b"\\x01")
"""
RULES = """
[[rules]]
name = "orders"
task = "order"
task_definition_id = 7
trigger = { type = "http" }
max_attempts = 1
[[rules]]
name = "anything"
task = "tasks.block_report"
task_definition_id = 8
trigger = { type = "http" }
"""
JSON = {"Content-Type": "application/json"}
TAKEN = "the task is journaled, and will be executed"


def config_of(folder: Path, node: FakeNode, aggregator: Aggregator, http: str = "") -> Path:
    (folder / "order.py").write_text(ORDER)
    return write_config(folder, [node.ws_url], RULES + BLOCKS, aggregator=aggregator.url, http=http)


async def execute_order(
    daemon: Following, query: str = "", key: str | None = None, **fields: Any
) -> tuple[int, dict[str, Any]]:
    headers = {} if key is None else {"Idempotency-Key": key}
    body = {"taskDefinitionId": 7, **fields}
    return await ask(daemon.url, f"/task/execute{query}", method="POST", json=body, headers=headers)


async def test_who_waits_gets_the_result_after_it_was_accepted(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    async with following(config_of(tmp_path, node, aggregator)) as daemon:
        await ready(daemon.url)
        status, answer = await execute_order(daemon, "?wait=true", name="a", items=[{"price": 2}, {"price": 3}])
        assert (status, answer) == (
            200,
            {
                "data": {"proofOfTask": "a+10+5", "data": "0x01", "taskDefinitionId": 7},
                "error": False,
                "message": "task 1 is accepted",
            },
        )
        assert [call.proof_of_task for call in aggregator.accepted] == ["a+10+5"]
        (row,) = daemon.rows
        assert (row["trigger"], row["state"], row["block_number"]) == ("http", "accepted", 10)


async def test_who_does_not_wait_gets_the_id_of_a_task_that_is_journaled(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    async with following(config_of(tmp_path, node, aggregator)) as daemon:
        await ready(daemon.url)
        gate = tmp_path / "gate"
        status, answer = await execute_order(daemon, name="a", pause_until=str(gate))
        assert (status, answer) == (202, {"data": {"taskId": 1}, "error": False, "message": TAKEN})
        assert (await ask(daemon.url, "/api/tasks/1"))[1]["state"] in {"pending", "running"}
        status, answer = await execute_order(daemon, "?wait=true&wait_s=0.05", name="b", pause_until=str(gate))
        assert (status, answer["data"]) == (202, {"taskId": 2})
        gate.touch()
        await daemon.until(lambda: [row["state"] for row in daemon.rows] == ["accepted", "accepted"])


async def test_the_same_key_is_the_same_task_and_with_another_body_refused(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    config = config_of(tmp_path, node, aggregator)
    async with following(config) as daemon:
        await ready(daemon.url)
        first = await execute_order(daemon, "?wait=true", key="one", name="a")
        assert first[0] == 200
        assert await execute_order(daemon, "?wait=true", key="one", name="a") == first
        status, answer = await execute_order(daemon, key="one", name="b")
        assert (status, answer) == (
            409,
            {
                "data": None,
                "error": True,
                "message": "Idempotency-Key one was given with another body, for task 1",
            },
        )
        assert (await execute_order(daemon, "?wait=true", key="two", name="b"))[1]["message"] == "task 2 is accepted"
    async with following(config) as daemon:  # it is written, so that a restart does not forget it
        await ready(daemon.url)
        assert await execute_order(daemon, "?wait=true", key="one", name="a") == first
    assert len(daemon.rows) == 2
    assert len(aggregator.accepted) == 2


async def test_many_at_once_with_one_key_are_one_task(node: FakeNode, aggregator: Aggregator, tmp_path: Path) -> None:
    async with following(config_of(tmp_path, node, aggregator)) as daemon:
        await ready(daemon.url)
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(execute_order(daemon, "?wait=1", key="one", name="a")) for _ in range(30)]
        assert {json.dumps(each.result()) for each in asked} == {json.dumps(asked[0].result())}
        assert (len(daemon.rows), len(aggregator.accepted)) == (1, 1)


async def test_a_task_that_ends_otherwise_says_how(node: FakeNode, aggregator: Aggregator, tmp_path: Path) -> None:
    async with following(config_of(tmp_path, node, aggregator)) as daemon:
        await ready(daemon.url)
        status, answer = await execute_order(daemon, "?wait=true", name="nothing")
        assert (status, answer["data"], answer["error"]) == (200, None, False)
        assert answer["message"].startswith("task 1 is skipped: ")
        status, answer = await execute_order(daemon, "?wait=true", name="fails")
        assert (status, answer["data"], answer["error"]) == (500, None, True)
        assert answer["message"].startswith("task 2 is failed: ")
        assert "no luck" in answer["message"]
        assert "Traceback" not in answer["message"]


BAD: list[tuple[bytes, int, str]] = [
    (b"", 400, "the body is not JSON: "),
    (b"{", 400, "the body is not JSON: "),
    (b"[]", 400, "the body is not a JSON object"),
    (b"null", 400, "the body is not a JSON object"),
    (b'"\xff"', 400, "the body is not JSON: "),
    (b'{"taskDefinitionId": 7, "name": "\\ud800"}', 400, "the body is not JSON: "),
    (b'{"taskDefinitionId": 7, "name": NaN}', 400, "the body is not JSON: "),
    (b'{"taskDefinitionId": 7, "taskDefinitionId": 8}', 400, '"taskDefinitionId" is there twice; which one is'),
    (b'{"taskDefinitionId": 7, "a": {"b": 1, "b": 1}}', 400, '"b" is there twice; which one is meant?'),
    (b'{"taskDefinitionId": 7, "a": ' + b"9" * 5000 + b"}", 400, "the body is not JSON: number is infinity"),
    (b'{"taskDefinitionId": 7, "a": ' + b"[" * 5000 + b"]" * 5000 + b"}", 400, "the body is not JSON"),
    (b"{}", 400, "taskDefinitionId: field required"),
    (b'{"taskDefinitionId": "7"}', 400, "taskDefinitionId: input should be a valid integer"),
    (b'{"taskDefinitionId": true}', 400, "taskDefinitionId: input should be a valid integer"),
    (b'{"taskDefinitionId": 7.5}', 400, "taskDefinitionId: input should be a valid integer"),
    (b'{"taskDefinitionId": 7.0}', 400, "body.name: Field required"),  # it is 7
    (b'{"taskDefinitionId": -1}', 400, "taskDefinitionId: input should be greater than or equal to 0"),
    (b'{"taskDefinitionId": 65536}', 400, "taskDefinitionId: input should be less than or equal to 65535"),
    (b'{"taskDefinitionId": 1}', 404, "no rule of type http has the task_definition_id 1; known: 7, 8"),
    (b'{"taskDefinitionId": 7}', 400, "body.name: Field required"),
    (b'{"taskDefinitionId": 7, "name": 3}', 400, "body.name: should be a valid string"),
    (b'{"taskDefinitionId": 7, "name": "rude"}', 400, "body.name: say please"),
    (b'{"taskDefinitionId": 7, "name": "broken"}', 400, "Body in order raised KeyError"),
    (b'{"taskDefinitionId": 7, "name": "a", "items": [{}]}', 400, "body.items.0.price: Field required"),
]


async def test_what_cannot_be_executed_is_refused_and_leaves_nothing(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    async with following(config_of(tmp_path, node, aggregator)) as daemon:
        await ready(daemon.url)
        for body, status, message in BAD:
            found, answer = await ask(daemon.url, "/task/execute", method="POST", data=body, headers=JSON)
            assert (found, answer["data"], answer["error"]) == (status, None, True), (body[:80], answer)
            assert answer["message"].startswith(message), (body[:80], answer)
        assert daemon.rows == []


async def test_bodies_whose_check_hangs_keep_neither_others_nor_the_end_waiting(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "CHECK_S", 0.2)
    loop = asyncio.get_running_loop()
    pool = ThreadPoolExecutor(2)
    loop.set_default_executor(pool)
    async with following(config_of(tmp_path, node, aggregator)) as daemon:
        await ready(daemon.url)
        hanging = [execute_order(daemon, name="hangs") for _ in range(execute.OVERDUE_MOST - 1)]
        for status, answer in await asyncio.gather(*hanging):
            assert (status, answer["error"]) == (503, True)
            assert answer["message"] == "rule orders: its Body did not say within 0.2 s whether this fits"
        assert (await execute_order(daemon, "?wait=true", name="a"))[0] == 200
        await execute_order(daemon, name="hangs")
        status, answer = await execute_order(daemon, name="b")
        assert (status, answer["message"]) == (503, "rule orders: 16 checks of its Body hang")
        status, _ = await ask(daemon.url, "/task/execute", method="POST", json={"taskDefinitionId": 8})
        assert status == 202  # another rule has places of its own
    assert not pool._work_queue.qsize()  # nothing waits for a thread
    (tmp_path / "gate").touch()


async def test_a_request_of_another_kind_is_refused(node: FakeNode, aggregator: Aggregator, tmp_path: Path) -> None:
    async with following(config_of(tmp_path, node, aggregator, 'token = "word-by-word"')) as daemon:
        await ready(daemon.url)
        body = {"taskDefinitionId": 8}

        async def sent(query: str = "", **headers: str) -> int:
            given = {"Authorization": "Bearer word-by-word", **headers}
            status, _ = await ask(daemon.url, f"/task/execute{query}", method="POST", json=body, headers=given)
            return status

        assert await sent(Authorization="Bearer word-by-wor") == 401
        assert await sent("?wait=perhaps") == 400
        assert await sent("?wait_s=-1") == 400
        assert await sent("?wait_s=nan") == 400
        assert await sent("?waits=true") == 400
        assert await sent(**{"Content-Type": "text/plain"}) == 415
        assert await sent(**{"Idempotency-Key": "two words"}) == 400
        assert await sent(**{"Idempotency-Key": ""}) == 400
        assert await sent(**{"Idempotency-Key": "x" * 256}) == 400
        assert daemon.rows == []
        assert await sent(**{"Content-Type": "application/x-www-form-urlencoded"}) == 202  # curl -d without -H
        assert await sent(**{"Content-Type": "application/json; charset=utf-8", "Idempotency-Key": "x" * 255}) == 202
        assert len(daemon.rows) == 2


async def test_before_a_chain_was_read_it_is_said_so(
    aggregator: Aggregator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "CURSOR_S", 0.05)
    async with FakeNode() as gone:
        config = config_of(tmp_path, gone, aggregator)
    async with following(config) as daemon:
        status, answer = await execute_order(daemon, name="a")
        assert status == 503
        assert answer["message"] == "chain l2 could not be read yet; try again, with the same Idempotency-Key"


async def test_who_waits_when_the_daemon_stops_is_told_that_it_is_not_over(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with asyncio.TaskGroup() as group, following(config_of(tmp_path, node, aggregator)) as daemon:
        await ready(daemon.url)
        asked = group.create_task(execute_order(daemon, "?wait=true", name="a", pause_until=str(gate)))
        await daemon.until(lambda: [row["state"] for row in daemon.rows] == ["running"])
        asked.add_done_callback(lambda _: gate.touch())  # the handler ends only after that
    assert asked.result()[0] == 202
    assert daemon.rows[0]["state"] in {"ready", "accepted"}
