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
async def attesters(config: Path, performer_url: str) -> AsyncIterator[list[str]]:
    """
    Start them and give their URLs; they end with the block.

    Each fetches proofs from the performer, and keeps them in no folder of the performer's.

    They are not waited for: who asks one that is not there yet asks again. Their logs go beside the configuration.
    """
    ports: set[int] = set()
    while len(ports) < COUNT:
        ports.add(free_port())
    started: list[Process] = []
    try:
        for number, port in enumerate(ports, start=1):
            started.append(await _start(config, f"attester-{number}", port, performer_url))
        yield [f"http://{HOST}:{port}" for port in ports]
    finally:
        async with asyncio.TaskGroup() as group:
            for process in started:
                group.create_task(child.stop(process))


async def _start(config: Path, name: str, port: int, performer_url: str) -> Process:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("LISTENER__")}
    with _opened(config.with_name(f"{name}.log")) as log:
        return await child.start(
            *(sys.executable, "-P", "-m", "listener", "run", "--role", "attester", "--config", str(config)),
            stderr=log,
            environment={
                **ours,
                "LISTENER__HTTP__BIND": f"{HOST}:{port}",
                "LISTENER__PROOFS__FOLDER": f"{name}-proofs",
                "LISTENER__PROOFS__GATEWAYS": f'["{performer_url}"]',
            },
        )


def _opened(path: Path) -> IO[bytes]:
    return path.open("ab")
