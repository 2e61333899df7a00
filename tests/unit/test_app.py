"""All stages live in one group: the first that ends unasked ends all, and a stop waits for what is in hand."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from listener import config
from listener.app import build, keep, serve
from listener.errors import ConfigError, ListenerError, StageEnded


class Stage:
    def __init__(self, name: str, run: Callable[[asyncio.Event], Awaitable[None]]) -> None:
        self.name = name
        self._run = run

    async def run(self, stop: asyncio.Event) -> None:
        await self._run(stop)


async def obedient(stop: asyncio.Event) -> None:
    await stop.wait()


async def returns(_stop: asyncio.Event) -> None:
    return


async def hangs(_stop: asyncio.Event) -> None:
    await asyncio.Event().wait()


async def stopped(stages: list[Stage], grace_s: float = 5) -> float:
    """Serve, ask to stop, and return how long that took."""
    stop = asyncio.Event()
    running = asyncio.ensure_future(serve(stages, stop, grace_s))
    await asyncio.sleep(0.01)
    assert not running.done()
    begun = asyncio.get_running_loop().time()
    stop.set()
    await asyncio.wait_for(running, 20)
    return asyncio.get_running_loop().time() - begun


async def test_a_stage_that_returns_unasked_is_a_fault_with_its_name() -> None:
    with pytest.raises(StageEnded, match="stage submitter ended unasked"):
        await keep(Stage("submitter", returns), asyncio.Event())


async def test_a_stage_that_returns_when_asked_has_done_well() -> None:
    stop = asyncio.Event()
    stop.set()
    await keep(Stage("submitter", returns), stop)


async def test_all_stages_run_until_they_are_asked_to_stop() -> None:
    assert await stopped([Stage("one", obedient), Stage("two", obedient)]) < 1


async def test_one_stage_that_ends_unasked_ends_the_others() -> None:
    seen: list[str] = []

    async def notices(stop: asyncio.Event) -> None:
        try:
            await stop.wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def ends_soon(_stop: asyncio.Event) -> None:
        await asyncio.sleep(0.01)

    with pytest.raises(ExceptionGroup) as raised:
        await serve([Stage("other", notices), Stage("dead", ends_soon)], asyncio.Event())
    (error,) = raised.value.exceptions
    assert isinstance(error, StageEnded)
    assert isinstance(error, ListenerError)
    assert seen == ["cancelled"]


async def test_one_stage_that_raises_ends_the_others_with_its_error() -> None:
    async def raises(_stop: asyncio.Event) -> None:
        raise ValueError("disk full")

    with pytest.raises(ExceptionGroup) as raised:
        await serve([Stage("one", hangs), Stage("two", raises)], asyncio.Event())
    assert [str(error) for error in raised.value.exceptions] == ["disk full"]


async def test_a_stop_waits_for_what_is_in_hand() -> None:
    finished: list[bool] = []

    async def finishes(stop: asyncio.Event) -> None:
        await stop.wait()
        await asyncio.sleep(0.1)
        finished.append(True)

    assert 0.1 <= await stopped([Stage("one", finishes), Stage("two", obedient)]) < 1
    assert finished == [True]


async def test_a_straggler_is_cut_off_after_the_grace_and_named() -> None:
    with capture_logs() as logs:
        assert 0.1 <= await stopped([Stage("one", obedient), Stage("late", hangs)], grace_s=0.1) < 2
    cut: list[Any] = [line for line in logs if line["event"] == "stage.cut_off"]
    assert [(line["stage"], line["log_level"]) for line in cut] == [("late", "warning")]


async def test_cancelling_the_daemon_cancels_its_stages() -> None:
    running = asyncio.ensure_future(serve([Stage("one", hangs), Stage("two", obedient)], asyncio.Event()))
    await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running], timeout=2)
    assert running.cancelled()


async def test_a_file_without_rules_is_refused_though_all_else_is_there(tmp_path: Path) -> None:
    """``listener check`` refuses it too; a daemon that idles would look as if it worked."""
    path = tmp_path / "config.toml"
    path.write_text(
        '[performer]\nkey = { env = "KEY" }\n[aggregator]\nurl = "http://127.0.0.1:1"\n'
        '[chains.l2]\nendpoints = ["http://127.0.0.1:1"]\nchain_id = 1\n'
    )
    settings = config.load(path, {"KEY": f"{1:064x}"})
    async with AsyncExitStack() as edges:
        with pytest.raises(ConfigError, match=r"no rules.*write a \[\[rules\]\] block"):
            await build(settings, (), {}, edges)
