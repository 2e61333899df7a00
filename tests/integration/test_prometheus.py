"""Prometheus itself scrapes a running daemon, and has nothing to object to what it reads."""

import asyncio
import re
import shutil
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from asking import ready
from command import LIMIT_S, running
from following import BLOCKS, write_config

from listener import metrics
from listener.devnet import child
from listener.devnet.aggregator import Aggregator
from listener.devnet.anvil import free_port
from listener.testing import FakeNode

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="prometheus and promtool are not on the PATH: install Debian's prometheus, or PATH=$PATH:$(.ci/prometheus)",
)

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs: [{{job_name: listener, static_configs: [{{targets: ["{target}"]}}]}}]
"""


class Prometheus:
    """A server that scrapes one target, and what it has logged."""

    def __init__(self, url: str, log: Path) -> None:
        self._url = url
        self._log = log

    async def ask(self, path: str, **params: str) -> Any:
        async with aiohttp.ClientSession() as session, session.get(self._url + path, params=params) as answer:
            assert answer.status == 200, await answer.text()
            return (await answer.json())["data"]

    async def until(self, path: str, condition: Callable[[Any], Any], **params: str) -> Any:
        """Ask until the answer is as wanted; return it. Its first look comes five seconds after its start."""
        last: Any = None
        try:
            async with asyncio.timeout(LIMIT_S):
                while True:
                    try:
                        last = await self.ask(path, **params)
                    except aiohttp.ClientError as error:  # it is not up yet
                        last = error
                    else:
                        if condition(last):
                            return last
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"not within {LIMIT_S:.0f} s: {last}; {self._log.read_text()}") from None

    def complaints(self) -> list[str]:
        return [line for line in self._log.read_text().splitlines() if "level=info" not in line]


@asynccontextmanager
async def scraping(target: str, folder: Path) -> AsyncIterator[Prometheus]:
    """Start Prometheus on a target, with all that it keeps in a folder."""
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(target=target))
    address = f"127.0.0.1:{free_port()}"
    log = folder / "prometheus.log"
    with log.open("ab") as stderr:
        process = await child.start(
            *("prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"),
            *(f"--web.listen-address={address}", "--log.format=logfmt"),
            stdout=stderr,
            stderr=stderr,
        )
    try:
        yield Prometheus(f"http://{address}", log)
    finally:
        await child.stop(process)


def first_target(answer: Any) -> Any:
    (target,) = answer["activeTargets"]
    return target


async def test_prometheus_scrapes_a_running_daemon_without_a_warning(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    async with running(write_config(tmp_path, [node.ws_url], BLOCKS, aggregator=aggregator.url)) as run:
        await run.logged("http.listening")
        (url,) = [line["url"] for line in run.lines if line["event"] == "http.listening"]
        await ready(url)
        await node.mine()
        await run.logged("task.accepted")
        async with scraping(url.removeprefix("http://"), tmp_path) as prometheus:
            target = first_target(
                await prometheus.until(
                    "/api/v1/targets",
                    lambda answer: answer["activeTargets"] and first_target(answer)["health"] != "unknown",
                )
            )
            assert (target["health"], target["lastError"]) == ("up", "")
            found = await prometheus.until(
                "/api/v1/query",
                lambda answer: answer["result"],
                query='listener_tasks_ended_total{rule="blocks",state="accepted"}',
            )
            assert found["result"][0]["value"][1] == "1"
            (described,) = await prometheus.until(
                "/api/v1/targets/metadata", lambda answer: answer, metric="listener_task_accepted_seconds"
            )
            assert described["type"] == "histogram"
            assert prometheus.complaints() == []
        async with aiohttp.ClientSession() as session, session.get(url + "/metrics") as answer:
            page = await answer.read()
    checker = await asyncio.create_subprocess_exec(
        "promtool", "check", "metrics", stdin=PIPE, stdout=PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await checker.communicate(page)
    assert (said.decode(), checker.returncode) == ("", 0)


async def test_the_alerts_are_rules_that_prometheus_accepts_about_metrics_that_there_are() -> None:
    alerts = Path(__file__).parents[2] / "deploy" / "alerts.yaml"
    checker = await asyncio.create_subprocess_exec(
        *("promtool", "check", "rules", "--lint-fatal", str(alerts)), stdout=PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await checker.communicate()
    assert checker.returncode == 0, said.decode()
    named = set(re.findall(r"\blistener_\w+", alerts.read_text()))
    assert named
    assert named <= set(re.findall(r"`(listener_\w+)`", metrics.described()))
