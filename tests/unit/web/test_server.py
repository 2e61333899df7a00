"""The server refuses in one form, holds its limits, and is in nobody's way."""

import asyncio
import socket
from contextlib import closing
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from serving import ECHO, LIMIT_S, all_of, answered, is_refusal, serving
from structlog.testing import capture_logs
from world import until

from listener import metrics
from listener.errors import BindFailed
from listener.web import Refused, Route, connection, door, envelope, listen
from listener.web.guard import Guard

TOKEN = "correct-horse-battery"  # noqa: S105 -- of these tests


class Gate:
    """A handler that waits until it is opened."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.waiting = 0

    async def __call__(self, _request: web.Request) -> web.Response:
        self.waiting += 1
        await self.open.wait()
        return envelope("through")

    def route(self, **more: Any) -> Route:
        async def handler(request: web.Request) -> web.Response:
            return await self(request)

        return Route(method="GET", path="/gate", handler=handler, **more)


async def quick(_request: web.Request) -> web.Response:
    return envelope("quick")


HEALTH = Route(method="GET", path="/health", handler=quick, unlimited=True, for_attesters=True)
SECRET = Route(method="GET", path="/secret", handler=quick, guarded=True)


async def test_an_answer_has_the_common_form() -> None:
    async with serving() as served:
        assert await served.ask("POST", "/echo", data=b"12345") == (
            200,
            {"data": {"read": 5}, "error": False, "message": None},
        )


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/nothing", 404, "there is nothing here"),
        ("POST", "/nothing/%00/..%2f", 404, "there is nothing here"),
        ("PUT", "/echo", 405, "PUT is not what is done here; try POST"),
    ],
)
async def test_what_is_not_served_is_refused_in_the_common_form(
    method: str, path: str, status: int, message: str
) -> None:
    async with serving() as served:
        found = await served.ask(method, path)
        assert found == (status, {"data": None, "error": True, "message": message})


async def test_the_methods_that_are_served_are_named_in_the_head() -> None:
    async with serving() as served, served.session.put(served.url + "/echo") as answer:
        assert (answer.headers["Allow"], answer.headers["Server"]) == ("POST", "listener")


@pytest.mark.parametrize("path", ["echo", "nothing"])
@pytest.mark.parametrize("expected", [b"a miracle", b"\xff\xfe"])
async def test_an_unknown_expectation_is_refused_in_the_common_form(path: str, expected: bytes) -> None:
    with capture_logs() as logs:
        async with serving() as served:
            head = f"POST /{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nExpect: "
            status, answer = await served.raw(head.encode() + expected + b"\r\n\r\n")
            assert (status, answer["message"]) == (417, "expectation failed")
    assert {line["event"] for line in logs} == {"http.listening"}


async def test_a_fault_of_a_handler_is_logged_and_its_details_stay_here() -> None:
    async def fails(_request: web.Request) -> web.Response:
        raise ValueError("the key is 12345")

    with capture_logs() as logs:
        async with serving(Route(method="GET", path="/", handler=fails, refused=False)) as served:
            found = await served.ask("GET", "/")
    assert found == (500, {"data": False, "error": True, "message": "a fault of the server, see its log"})
    (line,) = [line for line in logs if line["event"] == "http.failed"]
    assert (line["log_level"], line["path"], line["exc_info"]) == ("error", "/", True)


async def test_a_handler_may_refuse() -> None:
    async def refuses(_request: web.Request) -> web.Response:
        raise Refused(409, "another body")

    async with serving(Route(method="GET", path="/", handler=refuses)) as served:
        assert await served.ask("GET", "/") == (409, {"data": None, "error": True, "message": "another body"})


async def test_a_message_may_hold_what_utf_8_cannot_write() -> None:
    async def says(_request: web.Request) -> web.Response:
        return envelope(data=False, message="no \ud800 \u00e4")

    async with serving(Route(method="GET", path="/", handler=says)) as served:
        assert (await served.ask("GET", "/"))[1]["message"] == "no \\ud800 \u00e4"


# Bodies


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_may_be_as_large_as_the_limit_and_not_larger(chunked: bool) -> None:  # noqa: FBT001
    async def chunks(size: int) -> Any:
        for _ in range(size):
            yield b"x"

    async with serving(max_body_bytes=100) as served:
        for size, status in ((100, 200), (101, 413)):
            data = chunks(size) if chunked else b"x" * size
            found, answer = await served.ask("POST", "/echo", data=data)
            assert found == status
        assert answer == {"data": None, "error": True, "message": "the body is larger than 100 bytes"}


async def test_a_body_that_is_announced_too_large_is_refused_before_it_comes() -> None:
    async with serving(max_body_bytes=100) as served:
        status, answer = await served.raw(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n")
        assert status == 413
        assert is_refusal(answer)


async def test_a_packed_body_is_refused() -> None:
    async with serving() as served:
        status, answer = await served.ask("POST", "/echo", data=b"x", headers={"Content-Encoding": "gzip"})
        assert (status, answer["message"]) == (415, "send the body as it is, without Content-Encoding")


async def test_a_body_that_does_not_come_is_waited_for_no_longer_than_the_limit() -> None:
    async with serving(read_timeout_s=0.05) as served:
        status, answer = await served.raw(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345")
        assert (status, answer["message"]) == (408, "no whole body within 0.05 s")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: \xff\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused_in_the_common_form_and_logged_by_nobody(sent: bytes) -> None:
    with capture_logs() as logs:
        async with serving() as served:
            status, answer = await served.raw(sent)
            assert await served.ask("POST", "/echo")  # it goes on
    assert status in {400, 404}
    assert is_refusal(answer)
    assert {line["event"] for line in logs} == {"http.listening"}


async def test_a_line_that_is_too_long_is_named() -> None:
    async with serving() as served:
        status, answer = await served.raw(b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n")
        assert (status, answer["message"]) == (431, "a line of the request's head is too long")


# Connections


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "])
async def test_a_head_that_does_not_come_is_waited_for_no_longer_than_the_limit(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LINGER_S", 0.01)
    async with serving(read_timeout_s=0.05) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        with closing(writer):
            writer.write(sent)
            status, answer = await answered(reader)
            assert (status, answer["message"]) == (408, "no whole head of a request within 0.05 s")
            assert await asyncio.wait_for(reader.read(), LIMIT_S) == b""  # and the connection ends


async def test_those_that_send_nothing_are_in_nobodys_way() -> None:
    with capture_logs() as logs:
        await crowd_out(connections=20, room=5)
    assert {line["event"] for line in logs} == {"http.listening"}


async def crowd_out(connections: int, room: int) -> None:
    async with serving(max_connections=room) as served:
        silent = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(connections)]
        for _, writer in silent:
            writer.write(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n")
        for _ in range(5):
            async with aiohttp.ClientSession() as session, session.post(served.url + "/echo") as answer:
                assert answer.status == 200
        for _, writer in silent:
            writer.close()


async def test_where_all_connections_are_busy_the_next_is_told_to_come_again() -> None:
    gate = Gate()
    async with serving(gate.route(), max_connections=3) as served, asyncio.TaskGroup() as group:
        asked = [group.create_task(served.ask("GET", "/gate")) for _ in range(3)]
        await until(lambda: gate.waiting == 3)
        status, answer = await served.raw(b"GET /gate HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (status, answer["message"]) == (503, "too many connections; try again")
        gate.open.set()
        assert [(await each)[0] for each in asked] == [200, 200, 200]
        assert (await served.ask("GET", "/gate"))[0] == 200  # there is room again


async def test_a_client_that_goes_away_leaves_its_room() -> None:
    gate = Gate()
    async with serving(gate.route(), max_connections=1, max_requests=1) as served:
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(b"GET /gate HTTP/1.1\r\nHost: localhost\r\n\r\n")
            waiting = gate.waiting
            await until(lambda before=waiting: gate.waiting > before)
            gate.open.set()
            writer.transport.abort()
            gate.open.clear()
        gate.open.set()
        for _ in range(100):
            status, _ = await served.raw(b"GET /gate HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if status == 200:
                break
        assert status == 200


async def test_a_client_that_goes_away_leaves_its_room_though_its_handler_goes_on() -> None:
    gate = Gate()
    async with serving(gate.route(), HEALTH, max_connections=1) as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"GET /gate HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: gate.waiting == 1)
        assert (await served.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"))[0] == 503
        writer.transport.abort()
        for _ in range(100):
            status, _ = await served.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if status == 200:
                break
        assert status == 200
        gate.open.set()


# Requests


async def test_more_requests_at_a_time_than_the_limit_are_refused_and_health_is_not() -> None:
    gate = Gate()
    async with serving(gate.route(refused=False), HEALTH, max_requests=2) as served, asyncio.TaskGroup() as group:
        asked = [group.create_task(served.ask("GET", "/gate")) for _ in range(2)]
        await until(lambda: gate.waiting == 2)
        async with served.session.get(served.url + "/gate") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert await answer.json() == {
                "data": False,
                "error": True,
                "message": "too many requests at a time; try again",
            }
        assert (await served.ask("GET", "/health"))[0] == 200
        assert (await served.ask("GET", "/health", at=served.attesters))[0] == 200
        gate.open.set()
        assert [(await each)[0] for each in asked] == [200, 200]
        assert (await served.ask("GET", "/gate"))[0] == 200


async def test_a_client_that_asks_too_often_is_told_how_long_to_wait() -> None:
    async with serving(HEALTH, requests_per_s=5) as served:
        found = [await served.ask("GET", "/health") for _ in range(6)]
        assert [status for status, _ in found[:5]] == [200] * 5
        async with served.session.get(served.url + "/health") as answer:
            assert answer.status == 429
            assert int(answer.headers["Retry-After"]) == 1
            assert is_refusal(await answer.json())
        assert (await served.ask("GET", "/nothing"))[0] == 429
        assert (await served.ask("GET", "/health", at=served.attesters))[0] == 200  # each bind by itself


def counted(path: str, status: int) -> float:
    return metrics.registry.get_sample_value("listener_http_requests_total", {"path": path, "status": str(status)}) or 0


async def test_requests_are_counted_by_the_path_that_is_served() -> None:
    before = [counted("/secret", 200), counted("/secret", 401), counted("other", 404)]
    async with serving(SECRET, token=TOKEN) as served:
        await served.ask("GET", "/secret", headers={"Authorization": f"Bearer {TOKEN}"})
        await served.ask("GET", "/secret?a=1")
        await served.ask("GET", "/anything/else")
    after = [counted("/secret", 200), counted("/secret", 401), counted("other", 404)]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, 1]


async def test_hundreds_of_clients_at_once_get_an_answer_each() -> None:
    async with serving(max_connections=20, max_requests=5) as served:
        sent = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        found = await all_of([served.raw(sent) for _ in range(500)])
        assert {status for status, _ in found} == {200, 503}
        assert all(is_refusal(answer) for status, answer in found if status == 503)
        assert (await served.ask("POST", "/echo"))[0] == 200


async def test_who_is_told_to_come_again_is_not_carried_out() -> None:
    """Its head is read, its body is not; then another takes its place."""
    carried_out = 0

    async def count(_request: web.Request) -> web.Response:
        nonlocal carried_out
        carried_out += 1
        return envelope(carried_out)

    head = b"POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n"
    async with serving(Route(method="POST", path="/count", handler=count), max_connections=1) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        with closing(writer):
            writer.write(head)
            assert (await served.raw(head + b"{}"))[1]["data"] == 1
            writer.write(b"{}")
            status, answer = await answered(reader)
            assert (status, answer["message"]) == (503, "too many connections; try again")
            assert await asyncio.wait_for(reader.read(), LIMIT_S) == b""  # nothing after it
    assert carried_out == 1


async def test_who_is_told_to_come_again_when_all_was_read_is_not_carried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another takes its place between the moment its request was read and the one its handler begins."""
    gate = Gate()

    async def read(_self: Guard, request: web.Request) -> None:
        assert isinstance(request.protocol, connection.Connection)
        request.protocol.give_way()

    monkeypatch.setattr(Guard, "_read", read)
    async with serving(gate.route(), max_requests=1) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        with closing(writer):
            writer.write(b"GET /gate HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await answered(reader))[0] == 503
            assert await asyncio.wait_for(reader.read(), LIMIT_S) == b""
        assert gate.waiting == 0
        monkeypatch.undo()
        gate.open.set()
        assert (await served.ask("GET", "/gate"))[0] == 200  # its slot was given back


async def test_a_refused_body_that_does_not_come_gets_one_answer() -> None:
    async with serving(max_connections=1, read_timeout_s=0.05) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        with closing(writer):
            writer.write(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n")
            assert (await served.raw(b"POST /echo HTTP/1.1\r\nHost: localhost\r\n\r\n"))[0] == 200
            assert (await answered(reader))[0] == 503
            assert await asyncio.wait_for(reader.read(), LIMIT_S) == b""


async def test_who_has_had_an_answer_leaves_without_another() -> None:
    async with serving(max_connections=1) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        with closing(writer):
            writer.write(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
            assert (await answered(reader))[0] == 200
            assert (await served.ask("POST", "/echo"))[0] == 200
            assert await asyncio.wait_for(reader.read(), LIMIT_S) == b""


async def test_more_that_leave_than_there_is_room_for_are_let_go_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LINGER_S", 3600)
    monkeypatch.setattr(door, "leaving_room", lambda _allowed, _size: 3)
    gate = Gate()
    async with serving(gate.route(), max_connections=1) as served, asyncio.TaskGroup() as group:
        group.create_task(served.ask("GET", "/gate"))
        await until(lambda: gate.waiting == 1)
        clients = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(5)]
        assert [(await answered(reader))[0] for reader, _ in clients] == [503] * 5
        for reader, _ in clients[:2]:
            assert await asyncio.wait_for(reader.read(), LIMIT_S) == b""
        assert not any(reader.at_eof() for reader, _ in clients[2:])
        gate.open.set()
        for _, writer in clients:
            writer.close()


@pytest.mark.parametrize(("allowed", "size", "room"), [(1024, 256, 64), (4096, 256, 1536), (65_536, 256, 16_384)])
def test_the_room_for_those_that_leave_is_what_the_limit_of_descriptors_allows(
    allowed: int, size: int, room: int
) -> None:
    assert door.leaving_room(allowed, size) == room


# Who may ask


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer wrong-token", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"]
)
async def test_without_the_right_token_what_is_guarded_is_not_answered(header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    async with serving(SECRET, HEALTH, token=TOKEN) as served:
        async with served.session.get(served.url + "/secret", headers=headers) as answer:
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert is_refusal(await answer.json())
        assert (await served.ask("GET", "/health", headers=headers))[0] == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_with_the_right_token_what_is_guarded_is_answered(scheme: str) -> None:
    async with serving(SECRET, token=TOKEN) as served:
        assert (await served.ask("GET", "/secret", headers={"Authorization": f"{scheme} {TOKEN}"}))[0] == 200


async def test_a_token_that_is_no_ascii_is_wrong_and_no_fault() -> None:
    async with serving(SECRET, token=TOKEN) as served:
        sent = "GET /secret HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \udcff\u00e4\r\n\r\n"
        assert (await served.raw(sent.encode(errors="surrogateescape")))[0] == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:4003"}, 200),
        ({"Host": "[::1]:4003"}, 200),
        ({"Host": "evil.example:4003"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "127.0.0.1:4003", "Origin": "http://127.0.0.1:4003"}, 200),
        ({"Host": "127.0.0.1:4003", "Origin": "http://127.0.0.1:80"}, 403),
    ],
)
async def test_without_a_token_the_pages_of_others_may_not_ask(headers: dict[str, str], status: int) -> None:
    async with serving(SECRET, HEALTH) as served:
        assert (await served.ask("GET", "/secret", headers=headers))[0] == status
        assert (await served.ask("GET", "/health", headers=headers))[0] == 200


async def test_attesters_have_their_own_bind_with_their_own_paths_alone() -> None:
    async with serving(ECHO, SECRET, HEALTH) as served:
        assert (await served.ask("GET", "/health", at=served.attesters))[0] == 200
        for method, path in (("GET", "/secret"), ("POST", "/echo")):
            assert (await served.ask(method, path, at=served.attesters))[0] == 404


# Start and stop


def test_a_port_that_is_taken_is_named_with_what_to_do() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BindFailed) as caught:
            listen("bind", bind)
    assert str(caught.value) == (
        f"http.bind {bind}: cannot listen there: Address already in use; "
        "write another in config.toml, or end the process that has it"
    )


def test_it_listens_on_ipv6_too() -> None:
    with closing(listen("bind", "[::1]:0")) as listening:
        assert listening.family == socket.AF_INET6


async def test_a_stop_lets_it_finish_what_is_in_hand() -> None:
    gate = Gate()
    async with asyncio.TaskGroup() as group, serving(gate.route()) as served:
        asked = group.create_task(served.ask("GET", "/gate"))
        await until(lambda: gate.waiting == 1)
        asyncio.get_running_loop().call_later(0.05, gate.open.set)  # the stop comes before
    assert asked.result()[0] == 200
