"""
The two clients that are compared, each started as its user would start it, and what the kernel knows of the process.

Linux only: memory and processor time come from /proc.
"""

import os
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from bench.site import BenchError, Site
from listener.devnet import child
from listener.devnet.accounts import PERFORMER
from listener.devnet.intent_sender import artifact

BASELINE = "baseline"
DAEMON = "daemon"
STOP_S = 30.0
LAST_WORDS = 2000  # characters
CONFIG = """\
[performer]
key = {{ env = "PERFORMER_KEY" }}

[chains.l2]
endpoints = ["{ws}", "{http}"]
chain_id = {chain_id}
start = {start}

[contracts.intent_sender]
chain = "l2"
address = "{address}"
abi = "IntentSender.json"

[aggregator]
url = "{aggregator}"

[journal]
url = "sqlite:///listener.db"

[http]
bind = "127.0.0.1:0"

[[rules]]
name = "intents"
task = "tasks.intent"
task_definition_id = 0
trigger = {{ type = "event", contract = "intent_sender", event = "IntentSent" }}
concurrency = 32
self_check = false  # the script does not judge its answers either
"""
ATTESTS = """
[[rules]]
name = "trivial"
task = "trivial"
task_definition_id = {definition}
trigger = {{ type = "block", every = 1000000 }}
"""
TRIVIAL = """
from listener import Verdict
async def execute(ctx):
    return None
async def validate(ctx, claim):
    return Verdict.approve()
"""
DEFINITION = 7  # of the trivial task


@dataclass(frozen=True)
class Client:
    """One running client."""

    name: str
    started_at: float  # monotonic seconds, before its interpreter started
    log: Path
    process: Process

    def check(self) -> None:
        """
        See that it still runs.

        Raises:
            BenchError: it ended by itself.
        """
        if self.process.returncode is not None:
            code = self.process.returncode
            raise BenchError(f"the {self.name} ended with exit code {code}: {self.last_words()}")

    def last_words(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace").strip()[-LAST_WORDS:]

    def memory_mb(self, field: str) -> float:
        """Return ``VmRSS`` (now) or ``VmHWM`` (the most so far) in MB."""
        self.check()
        status = dict(line.split(":", 1) for line in self._kernel("status").splitlines())
        return int(status[field].split()[0]) / 1024

    def processor_s(self) -> float:
        """Return the processor time used so far, user and system, in seconds."""
        self.check()
        after_name = self._kernel("stat").rsplit(")", 1)[1].split()
        return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")

    def _kernel(self, file: str) -> str:
        return Path(f"/proc/{self.process.pid}/{file}").read_text()


@asynccontextmanager
async def run_client(
    name: str, site: Site, folder: Path, *, start: int | None = None, attests: bool = False
) -> AsyncIterator[Client]:
    """
    Run a client beside a site; it is stopped in every case.

    Args:
        name: ``BASELINE`` or ``DAEMON``.
        site: what it follows and sends to.
        folder: made; holds what the client needs and its log.
        start: the first block that counts; None is the next one.
        attests: whether the daemon judges claims of a trivial task too.

    Raises:
        BenchError: it ended by itself.
    """
    command = _prepare(name, site, folder, start)
    if attests:
        command += _attests(folder)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LISTENER__")}
    log = folder / "client.log"
    with log.open("wb") as stderr:
        started_at = time.monotonic()
        process = await child.start(
            *command, stderr=stderr, environment=environment | {"PERFORMER_KEY": PERFORMER.private_key}
        )
    try:
        client = Client(name, started_at, log, process)
        yield client
        client.check()
    finally:
        await child.stop(process, grace_s=STOP_S)


def _prepare(name: str, site: Site, folder: Path, start: int | None) -> list[str]:
    folder.mkdir()
    (folder / "IntentSender.json").write_bytes(orjson.dumps(artifact()["abi"]))
    return COMMANDS[name](site, folder, start)


def _baseline(site: Site, folder: Path, start: int | None) -> list[str]:
    return [
        *(sys.executable, "-m", "bench.baseline", "--ws", site.anvil.ws_url, "--aggregator", site.aggregator_url),
        *("--address", site.sender.address, "--abi", str(folder / "IntentSender.json")),
        *(() if start is None else ("--start", str(start))),
    ]


def _daemon(site: Site, folder: Path, start: int | None) -> list[str]:
    config = folder / "config.toml"
    config.write_text(
        CONFIG.format(
            ws=site.anvil.ws_url,
            http=site.anvil.http_url,
            chain_id=site.anvil.chain_id,
            start='"latest"' if start is None else start,
            address=site.sender.address,
            aggregator=site.aggregator_url,
        )
    )
    return [sys.executable, "-m", "listener", "run", "--config", str(config)]


def _attests(folder: Path) -> list[str]:
    (folder / "trivial.py").write_text(TRIVIAL)
    with (folder / "config.toml").open("a") as config:
        config.write(ATTESTS.format(definition=DEFINITION))
    return ["--role", "both"]


COMMANDS: dict[str, Callable[[Site, Path, int | None], list[str]]] = {BASELINE: _baseline, DAEMON: _daemon}
