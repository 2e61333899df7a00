"""Validation services beside the daemon: the same program on the same configuration, as attesters, on free ports."""

import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from listener.devnet import child
from listener.devnet.anvil import HOST, free_port

COUNT = 4  # the fewest with which one that lies or is gone changes no outcome


@asynccontextmanager
async def attesters(config: Path) -> AsyncIterator[list[str]]:
    """
    Start them and give their URLs; they end with the block.

    They are not waited for: who asks one that is not there yet asks again. Their logs go beside the configuration.
    """
    ports: set[int] = set()
    while len(ports) < COUNT:
        ports.add(free_port())
    started: list[Process] = []
    try:
        for number, port in enumerate(ports, start=1):
            started.append(await _start(config, config.with_name(f"attester-{number}.log"), port))
        yield [f"http://{HOST}:{port}" for port in ports]
    finally:
        async with asyncio.TaskGroup() as group:
            for process in started:
                group.create_task(child.stop(process))


async def _start(config: Path, path: Path, port: int) -> Process:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("LISTENER__")}
    with _opened(path) as log:
        return await child.start(
            *(sys.executable, "-P", "-m", "listener", "run", "--role", "attester", "--config", str(config)),
            stderr=log,
            environment={**ours, "LISTENER__HTTP__BIND": f"{HOST}:{port}"},
        )


def _opened(path: Path) -> IO[bytes]:
    return path.open("ab")
