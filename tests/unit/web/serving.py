"""A real server on a free port, and clients of it down to the bare socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from listener.config import Http
from listener.web import Route, Server, envelope, listen

LIMIT_S = 20.0


@dataclass(frozen=True)
class Served:
    """Where a server answers."""

    url: str
    attesters: str
    session: aiohttp.ClientSession

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def ask(self, method: str, path: str, *, at: str | None = None, **more: Any) -> tuple[int, Any]:
        async with self.session.request(method, (at or self.url) + path, **more) as answer:
            return answer.status, await answer.json()

    async def raw(self, sent: bytes) -> tuple[int, dict[str, Any]]:
        """Send bytes as they are; return the first answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        with closing(writer):
            writer.write(sent)
            return await answered(reader)


async def answered(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any]]:
    """Read one answer as it stands on the wire."""
    async with asyncio.timeout(LIMIT_S):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        assert "content-type: application/json" in head
        return int(head.split(" ", 2)[1]), json.loads(await reader.readexactly(length))


async def echo(request: web.Request) -> web.Response:
    return envelope({"read": len(await request.read())})


ECHO = Route(method="POST", path="/echo", handler=echo)


@asynccontextmanager
async def serving(*routes: Route, **settings: Any) -> AsyncIterator[Served]:
    """Serve routes on both binds, with these settings in place of the defaults."""
    http = Http(bind="127.0.0.1:0", validate_bind="127.0.0.1:0", **settings)
    main, attesters = listen("bind", http.bind), listen("validate_bind", http.bind)
    places = [f"http://127.0.0.1:{each.getsockname()[1]}" for each in (main, attesters)]
    stop = asyncio.Event()
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        group.create_task(Server(http, main, attesters, routes or (ECHO,)).run(stop))
        yield Served(*places, session)
        stop.set()


def is_refusal(answer: Any) -> bool:
    """Say whether an answer has the form of all refusals, and holds nothing of our insides."""
    text = json.dumps(answer)
    return set(answer) == {"data", "error", "message"} and answer["error"] is True and "Traceback" not in text


async def all_of(asked: Sequence[Any]) -> list[Any]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in asked]
    return [task.result() for task in tasks]
