"""A handler that blocks its loop delays other handlers and nothing else, and is named."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs
from works import Context, good, running, walk, work
from world import SIGNER, World, block, fired, until

from listener.model import TaskResult
from listener.runner import Runner
from listener.runner import handler_loop as module


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


async def test_a_handler_that_blocks_its_loop_is_named_once_and_nothing_else_stands_still(
    world: World, logs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STUCK_AFTER_S", 0.1)

    async def block_the_loop(ctx: Context) -> TaskResult:
        time.sleep(0.8)  # noqa: ASYNC251 - what a user should not write
        return TaskResult(ctx.key)

    await world.walk(fired("blocks", block(11)))
    stop = asyncio.Event()
    runner = Runner([work(block_the_loop), work(good, "blocks-once")], SIGNER, world.journal)
    running = asyncio.ensure_future(runner.run(stop))
    await until(lambda: world.states() == ["running"])
    latest = time.monotonic()
    longest = 0.0
    while world.states() == ["running"]:
        await asyncio.sleep(0.005)
        longest, latest = max(longest, time.monotonic() - latest), time.monotonic()
    assert longest < 0.4, "the stages' loop turned all the while"
    stop.set()
    await asyncio.wait_for(running, 20)
    blocked = [line for line in logs if line["event"] == "handlers.blocked"]
    assert [line["task"] for line in blocked] == ["blocks 1"]
    assert blocked[0]["log_level"] == "warning"
    assert world.states() == ["ready"]


async def test_handlers_run_apart_from_the_stages(world: World) -> None:
    threads: set[int] = set()

    async def note(ctx: Context) -> TaskResult:
        threads.add(threading.get_ident())
        return TaskResult(ctx.key)

    await world.walk(*[fired("blocks", block(number)) for number in range(11, 16)])
    stop = asyncio.Event()
    running = asyncio.ensure_future(Runner([work(note)], SIGNER, world.journal).run(stop))
    await until(lambda: world.states() == ["ready"] * 5)
    stop.set()
    await asyncio.wait_for(running, 20)
    assert len(threads) == 1
    assert threading.get_ident() not in threads


async def test_a_cookie_that_one_task_was_given_goes_out_with_no_other_request(world: World) -> None:
    seen: list[str | None] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        seen.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "who=one"})

    server = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=1)
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    port = server.addresses[0][1]

    async def ask(ctx: Context) -> TaskResult:
        # A name, for a jar never keeps the cookies of a bare address.
        async with ctx.http.get(f"http://localhost:{port}/") as response:
            assert response.headers["Set-Cookie"] == "who=one"
        return TaskResult(ctx.key)

    try:
        async with running(world, work(ask)):
            for number in (1, 2):
                await walk(world)
                await until(lambda number=number: world.states() == ["ready"] * number)
    finally:
        await server.cleanup()
    assert seen == [None, None]


async def test_a_handler_that_will_not_be_cancelled_is_left_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STUCK_AFTER_S", 0.2)
    release = threading.Event()

    async def stubborn(_ctx: Context) -> None:
        while not release.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue

    await world.walk(fired("blocks", block(11)))
    running = asyncio.ensure_future(Runner([work(stubborn)], SIGNER, world.journal).run(asyncio.Event()))
    await until(lambda: world.states() == ["running"])
    begun = time.monotonic()
    running.cancel()
    await asyncio.wait([running], timeout=5)
    assert time.monotonic() - begun < 2
    assert world.states() == ["pending"]
    release.set()
    await asyncio.sleep(0.1)


async def test_a_handler_that_swallows_its_cancellation_is_given_up_and_what_it_returns_later_is_dropped(
    world: World, logs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STUCK_AFTER_S", 0.05)
    monkeypatch.setattr(module, "OVERDUE_S", 0.1)
    release, returned = threading.Event(), threading.Event()

    async def stubborn_once(ctx: Context) -> TaskResult:
        while ctx.trigger.block_number == 11 and not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
        asyncio.get_running_loop().call_soon(returned.set)
        return TaskResult(ctx.key)

    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)))
    stop = asyncio.Event()
    rule = work(stubborn_once, timeout_s=0.05, max_attempts=1, concurrency=1)
    running = asyncio.ensure_future(Runner([rule], SIGNER, world.journal).run(stop))
    try:
        await until(lambda: world.states() == ["failed", "ready"])
        returned.clear()
    finally:
        release.set()
        await until(returned.is_set)
        stop.set()
        await asyncio.wait_for(running, 20)
    assert world.states() == ["failed", "ready"]
    assert "it did not end when it was cancelled" in world.row()["error"]
    assert [(line["task"], line["log_level"]) for line in logs if line["event"] == "handler.overdue"] == [(1, "error")]
    assert not [line for line in logs if line["event"] == "result.discarded"], "a late result reaches nobody"


async def test_no_thread_is_left_when_all_went_well(world: World) -> None:
    before = {thread.name for thread in threading.enumerate()}
    await world.walk(fired("blocks", block(11)))
    stop = asyncio.Event()
    running = asyncio.ensure_future(Runner([work(good)], SIGNER, world.journal).run(stop))
    await until(lambda: world.states() == ["ready"])
    stop.set()
    await asyncio.wait_for(running, 20)
    assert not {thread.name for thread in threading.enumerate() if thread.name == "handlers"} - before
