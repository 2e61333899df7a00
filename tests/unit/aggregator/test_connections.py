"""Connections are kept and made again, and a server may end its answers in any way that HTTP allows."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from raw_server import TAKEN, RawServer, Reply, Request, answer

from listener.aggregator.connections import Answer, Connections

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async with RawServer() as running:
        yield running


@pytest.fixture
async def connections(server: RawServer) -> AsyncIterator[Connections]:
    made = Connections(server.url)
    yield made
    made.close()


async def test_a_body_in_chunks_is_put_together(server: RawServer, connections: Connections) -> None:
    server.reply = CHUNKED
    assert await connections.post(b"{}") == Answer(200, b"hello world")
    assert await connections.post(b"{}") == Answer(200, b"hello world")
    assert server.connections == 1


async def test_a_body_that_comes_drop_by_drop_is_put_together(server: RawServer, connections: Connections) -> None:
    whole = answer(TAKEN)
    server.reply = whole[:30]

    async def drip(_request: Request) -> Reply:
        return whole

    server.hook = drip
    assert (await connections.post(b"{}")).body == TAKEN


async def test_as_many_connections_are_open_as_there_are_requests_at_a_time(
    server: RawServer, connections: Connections
) -> None:
    async def slow(_request: Request) -> Reply:
        await asyncio.sleep(0.05)
        return answer(TAKEN)

    server.hook = slow
    for _ in range(2):
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(connections.post(b"{}"))
    assert (server.connections, server.most_at_once) == (8, 8)


async def test_a_connection_that_the_server_wants_closed_is_not_used_again(
    server: RawServer, connections: Connections
) -> None:
    server.reply = answer(TAKEN, 200, "connection: close")
    for _ in range(3):
        await connections.post(b"{}")
    assert [request.connection for request in server.requests] == [1, 2, 3]


async def test_a_server_that_restarted_is_reached_again_at_once(server: RawServer, connections: Connections) -> None:
    await connections.post(b"{}")
    await server.close()
    await server.start()
    await asyncio.sleep(0.01)
    assert (await connections.post(b"{}")).status == 200


async def test_an_answer_that_ends_with_its_connection_is_an_answer(
    server: RawServer, connections: Connections
) -> None:
    """Without content-length the end of the connection is the end of the body; older servers and proxies do so."""
    server.reply = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + TAKEN
    assert await connections.post(b"{}") == Answer(200, TAKEN)


async def test_an_answer_of_http_1_0_is_an_answer(server: RawServer, connections: Connections) -> None:
    server.reply = b"HTTP/1.0 200 OK\r\n\r\n" + TAKEN
    assert await connections.post(b"{}") == Answer(200, TAKEN)


async def test_an_interim_answer_is_not_the_answer(server: RawServer, connections: Connections) -> None:
    server.reply = b"HTTP/1.1 100 Continue\r\n\r\n" + answer(TAKEN)
    assert await connections.post(b"{}") == Answer(200, TAKEN)


@pytest.mark.parametrize("reused", [False, True])
async def test_a_request_whose_answer_was_lost_is_not_sent_again_in_silence(
    server: RawServer,
    connections: Connections,
    reused: bool,  # noqa: FBT001
) -> None:
    """
    Whether a send was the first decides what "already known" means, so that no send may go uncounted.

    The connection had been opened before, the server read the request, took the task, and died before it answered.
    """
    if reused:
        await connections.post(b"first")
    server.replies = [None]
    with pytest.raises(OSError, match=r".*"):
        await connections.post(b"lost")
    assert [request.body for request in server.requests].count(b"lost") == 1


async def test_a_second_answer_that_nobody_asked_for_is_not_taken_for_the_next(
    server: RawServer, connections: Connections
) -> None:
    server.replies = [answer(b"one") + answer(b"stray")]
    assert (await connections.post(b"{}")).body == b"one"
    await asyncio.sleep(0.01)
    server.reply = answer(b"two")
    assert (await connections.post(b"{}")).body == b"two"


async def test_a_cancelled_request_leaves_no_answer_for_the_next(server: RawServer, connections: Connections) -> None:
    gate = asyncio.Event()

    async def first_waits(request: Request) -> Reply:
        if request.body == b"slow":
            await gate.wait()
        return answer(request.body)

    server.hook = first_waits
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await connections.post(b"slow")
    gate.set()
    assert (await connections.post(b"quick")).body == b"quick"


async def test_an_ipv6_address_is_reached() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"{}"))
        writer.write(answer(TAKEN))
        await writer.drain()
        writer.close()

    try:
        server = await asyncio.start_server(serve, "::1", 0)
    except OSError:
        pytest.skip("this machine has no IPv6")
    port = server.sockets[0].getsockname()[1]
    connections = Connections(f"http://[::1]:{port}/")
    assert (await connections.post(b"{}")).body == TAKEN
    assert f"host: [::1]:{port}".encode() in seen[0]
    connections.close()
    server.close()
    await server.wait_closed()
