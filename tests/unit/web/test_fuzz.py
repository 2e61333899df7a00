"""Whatever bytes come in: each answer has the common form, none is a fault of ours, and the next request is served."""

import asyncio
import json
import random
from contextlib import closing

import pytest
from aiohttp import web
from serving import LIMIT_S, all_of, is_refusal, serving
from structlog.testing import capture_logs
from world import until

from listener.web import Route, envelope
from listener.web.query import read_object

WELL = b"HTTP/1.1 200 OK"


async def take(request: web.Request) -> web.Response:
    return envelope(len(await read_object(request)))


TAKE = Route(method="POST", path="/task/execute", handler=take)
BODIES = [
    b'{"taskDefinitionId": 7, "data": "0x00ff", "performer": "0xabc"}',
    b'{"a": {"b": [1, 2, {"c": null}]}, "d": "\\u00e4\\ud83d\\ude00"}',
    b"[1, 2",
    b'{"a": 1, "a": 2}',
    b'{"a": "\xff\xfe"}',
    b'{"a": "\\ud800"}',
    b'{"a": 1e999, "b": -0, "c": 123456789012345678901234567890}',
    b"",
    b"\x00" * 50,
    b"[" * 3000,
]
HEADS = [
    b"POST /task/execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
    b"POST /task/execute?wait=true HTTP/1.0\r\nContent-Length: %d\r\n\r\n",
    b"POST /task/execute HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n",
    b"POST /task/execute HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n",
    b"GET /task/execute HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n",
    b"POST /task/execute HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n",
]


def mutated(chance: random.Random) -> bytes:
    """Make a request, and most often spoil it."""
    body = chance.choice(BODIES)
    head = chance.choice(HEADS) % len(body)
    sent = bytearray(head + body + (b"\r\n0\r\n\r\n" if b"chunked" in head else b""))
    for _ in range(chance.choice((0, 0, 1, 2, 5, 20))):
        place = chance.randrange(len(sent) + 1)
        match chance.randrange(4):
            case 0:
                sent[place:place] = chance.randbytes(chance.randrange(1, 8))
            case 1:
                del sent[place : place + chance.randrange(1, 8)]
            case 2:
                sent[place:place] = chance.choice(
                    (b"\r\n", b"\n", b"\x00", b": ", b"Content-Length: 3\r\n", b"%00", b"{")
                )
            case _:
                sent[place : place + 1] = bytes([chance.randrange(256)])
    return bytes(sent)


async def answers_to(port: int, sent: bytes) -> bytes:
    """Send bytes and say that no more come; return all that is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with closing(writer):
        try:
            writer.write(sent)
            writer.write_eof()
            return await asyncio.wait_for(reader.read(), LIMIT_S)
        except ConnectionError:
            return b""


def bodies_of(answered: bytes) -> list[tuple[bytes, bytes]]:
    """Split what was answered into the first line and the body of each answer."""
    found = []
    while answered:
        head, _, rest = answered.partition(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 100"):
            answered = rest
            continue
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        found.append((head.partition(b"\r\n")[0], rest[:length]))
        answered = rest[length:]
    return found


@pytest.mark.parametrize("seed", range(4))
async def test_spoilt_requests_are_answered_in_the_common_form_or_not_at_all(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 -- reproducible
    asked = [mutated(chance) for _ in range(150)]
    with capture_logs() as logs:
        async with serving(TAKE, read_timeout_s=0.2) as served:
            for start in range(0, len(asked), 25):
                each = await all_of([answers_to(served.port, sent) for sent in asked[start : start + 25]])
                for sent, answered in zip(asked[start:], each, strict=False):
                    for line, body in bodies_of(answered):
                        assert line.startswith(b"HTTP/1."), (sent, answered)
                        assert b" 50" not in line, (sent, answered)
                        if b" 200 " not in line:
                            assert is_refusal(json.loads(body)), (sent, answered)
            assert (await served.ask("POST", "/task/execute", json={}))[0] == 200
    assert {line["event"] for line in logs} == {"http.listening"}


@pytest.mark.parametrize("name", ["Content-Type", "Content-Encoding", "Authorization", "Origin", "Idempotency-Key"])
async def test_a_header_that_is_no_text_is_no_fault(name: str) -> None:
    head = f"POST /task/execute HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n{name}: ".encode()
    async with serving(TAKE) as served:
        status, answer = await served.raw(head + b"te\xffxt/\xfe\r\n\r\n{}")
        assert status == 200 or (status < 500 and is_refusal(answer))


async def test_slow_clients_slow_nobody() -> None:
    """Each sends a byte now and then, as many as there is room for, and more."""
    sent = b"POST /task/execute HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{"
    async with serving(TAKE, max_connections=10, max_requests=2) as served, asyncio.TaskGroup() as group:
        begun = 0

        async def slow(shown: int) -> None:
            nonlocal begun
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            with closing(writer):
                writer.write(sent[:shown])
                begun += 1
                await asyncio.wait_for(reader.read(), LIMIT_S)

        slow_ones = [group.create_task(slow(1 + number % len(sent))) for number in range(60)]
        await until(lambda: begun == len(slow_ones))
        for _ in range(20):
            assert (await served.ask("POST", "/task/execute", json={}))[0] == 200
        for each in slow_ones:
            each.cancel()
