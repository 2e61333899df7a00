"""The proxy carries what it is given, and breaks a line in just the way that it was told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from listener.testing import Proxy

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Line]]


@pytest.fixture
async def echo_port() -> AsyncIterator[int]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65_536):
            writer.write(piece)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
async def proxy(echo_port: int) -> AsyncIterator[Proxy]:
    async with Proxy(echo_port) as running:
        yield running


@pytest.fixture
async def connect(proxy: Proxy) -> AsyncIterator[Connect]:
    lines: list[Line] = []

    async def connect() -> Line:
        lines.append(await asyncio.open_connection("127.0.0.1", proxy.port))
        return lines[-1]

    yield connect
    for _, writer in lines:
        writer.transport.abort()


async def said(line: Line, word: bytes) -> bytes:
    line[1].write(word)
    async with asyncio.timeout(20):
        return await line[0].readexactly(len(word))


async def test_bytes_go_through_both_ways(proxy: Proxy, connect: Connect) -> None:
    line = await connect()
    assert await said(line, b"x" * 300_000) == b"x" * 300_000
    assert (proxy.connections, proxy.lines) == (1, 1)


async def test_a_cut_line_ends_and_the_next_one_works(proxy: Proxy, connect: Connect) -> None:
    line = await connect()
    await said(line, b"a")
    proxy.cut()
    assert await line[0].read() == b""
    assert await said(await connect(), b"b") == b"b"
    assert proxy.broken == 1


async def test_a_reset_line_fails(proxy: Proxy, connect: Connect) -> None:
    line = await connect()
    await said(line, b"a")
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await line[0].read()


async def test_a_silent_line_stays_open_and_carries_nothing(proxy: Proxy, connect: Connect) -> None:
    line = await connect()
    await said(line, b"a")
    proxy.silent = True
    line[1].write(b"b")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(line[0].read(1), 0.1)
    proxy.silent = False
    assert await said(line, b"c") == b"c", "what was swallowed never comes"


async def test_it_refuses_until_it_listens_again_and_open_lines_go_on(proxy: Proxy, connect: Connect) -> None:
    line = await connect()
    await said(line, b"a")
    await proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await connect()
    assert await said(line, b"b") == b"b"
    await proxy.listen()
    assert await said(await connect(), b"c") == b"c"


@pytest.mark.parametrize(
    "hinder",
    [lambda proxy: setattr(proxy, "delay_s", 0.05), lambda proxy: setattr(proxy, "bytes_per_s", 40)],
    ids=["delayed", "throttled"],
)
async def test_a_slow_line_takes_its_time(proxy: Proxy, connect: Connect, hinder: Callable[[Proxy], None]) -> None:
    line = await connect()
    await said(line, b"a")
    hinder(proxy)
    begun = asyncio.get_running_loop().time()
    assert await said(line, b"b" * 2) == b"b" * 2
    assert asyncio.get_running_loop().time() - begun >= 0.09


async def test_where_nobody_listens_behind_it_the_line_ends(proxy: Proxy, connect: Connect) -> None:
    proxy.target_port = 9
    line = await connect()
    with contextlib.suppress(ConnectionResetError):
        assert await line[0].read() == b""
    assert line[0].at_eof() or line[0].exception() is not None


async def test_a_line_that_is_closing_already_may_be_reset_as_well(proxy: Proxy, connect: Connect) -> None:
    reader, writer = await connect()
    writer.write(b"a")
    assert await reader.read(1) == b"a"
    for line in proxy._lines.values():
        for each in line:
            each.transport.abort()
    while not all(  # noqa: ASYNC110 - the transports tell nobody else
        each.get_extra_info("socket")._sock.fileno() == -1 for line in proxy._lines.values() for each in line
    ):
        await asyncio.sleep(0)
    proxy.reset()
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read(1) == b""
