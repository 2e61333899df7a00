"""URLs that others chose: what is asked of them, and what never is. All of it on loopback."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from listener import FetchFailed, fetch, strangers


@asynccontextmanager
async def answering(answer: bytes | Callable[[], bytes], *, stays: bool = False) -> AsyncIterator[list[bytes]]:
    """Answer every connection with these bytes; what was asked is kept, the URL stands first."""
    asked: list[bytes] = []
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer() if callable(answer) else answer)
        await writer.drain()
        if stays:
            await done.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    asked.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x?key=secret".encode())
    try:
        yield asked
    finally:
        done.set()
        server.close()
        await server.wait_closed()


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def test_an_answer_comes_whole_with_its_status_and_exact_numbers() -> None:
    async with answering(http(b'{"price": 1.10000000000000000001, "n": 3}', "418 Teapot")) as asked:
        found = await fetch(asked[0].decode(), allow_private=True)
    assert (found.status, found.json()) == (418, {"price": Decimal("1.10000000000000000001"), "n": 3})
    assert b"accept-encoding: identity" in asked[1].lower()


async def test_json_is_posted() -> None:
    async with answering(http(b"1")) as asked:
        await fetch(asked[0].decode(), json={"a": [1]}, allow_private=True)
    assert asked[1].startswith(b"POST /x?key=secret ")


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": NaN}', b"[" * 30_000, b"1" * 5000, b"\xff"])
def test_what_is_no_json_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(FetchFailed, match="the answer is not JSON"):
        strangers.Fetched(200, body).json()


PRIVATE = [
    *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1"),  # noqa: S104 - refused
    *("224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "192.0.0.8"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00::1", "fec0::1", "ff02::1", "::127.0.0.1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2001:0:1::1"),
    *("64:ff9b:1::1", "", "name"),
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "2606:4700::1", "64:ff9b::808:808", "2002:808:808::1"]


def test_addresses_of_the_open_internet_are_told_from_all_others_however_they_are_written() -> None:
    assert [each for each in PRIVATE if strangers.is_public(each)] == []
    assert [each for each in PUBLIC if not strangers.is_public(each)] == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]"])
async def test_this_machine_is_not_asked_under_any_name(host: str) -> None:
    async with answering(http(b"1")) as asked:
        with pytest.raises(FetchFailed):
            await fetch(asked[0].decode().replace("127.0.0.1", host))
    assert len(asked) == 1, "nothing was connected to"


async def test_a_name_that_leads_elsewhere_the_second_time_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []

    async def resolve(_self: Any, host: str, port: int = 0, **_more: Any) -> list[dict[str, Any]]:
        looked_up.append(host)
        address = "93.184.216.34" if len(looked_up) % 2 == 0 else "127.0.0.1"
        return [{"hostname": host, "host": address, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", resolve)
    async with answering(http(b"1")) as asked:
        with pytest.raises(FetchFailed, match=r"127\.0\.0\.1 is no address of the open Internet"):
            await fetch(asked[0].decode().replace("127.0.0.1", "rebinds.example"))
    assert looked_up == ["rebinds.example"], "what was looked up once is what is connected to"
    assert len(asked) == 1


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "ftp://h/x", "gopher://h", "/x", "", "http://", "http://user:pw@h/"),
        *("http://h:99999/", "http://h/\n", f"http://h/{'x' * 3000}", "http://bücher.example/", "http://[::1/"),
    ],
)
async def test_what_is_no_plain_url_is_not_asked(url: str) -> None:
    with pytest.raises(FetchFailed, match="not a URL that may be asked"):
        await fetch(url, allow_private=True)


async def test_a_redirect_is_not_followed() -> None:
    async with (
        answering(http(b"secret")) as inner,
        answering(http(b"", "302 Found", f"Location: {inner[0].decode()}")) as asked,
    ):
        with pytest.raises(FetchFailed, match="redirects are not followed"):
            await fetch(asked[0].decode(), allow_private=True)
        assert len(inner) == 1


async def test_a_body_beyond_the_limit_is_not_read_whether_its_length_is_told_or_not() -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n"
    for answer in (http(b"x" * 1024), chunks):
        async with answering(answer) as asked:
            with pytest.raises(FetchFailed, match="larger than 1023 bytes"):
                await fetch(asked[0].decode(), allow_private=True, max_bytes=1023)
            assert len((await fetch(asked[0].decode(), allow_private=True, max_bytes=1024)).body) == 1024


async def test_a_packed_body_is_refused_unread() -> None:
    async with answering(http(gzip.compress(b"0" * 10_000_000), "200 OK", "Content-Encoding: gzip")) as asked:
        with pytest.raises(FetchFailed, match="is packed"):
            await fetch(asked[0].decode(), allow_private=True, max_bytes=100_000)


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
async def test_who_does_not_answer_in_time_is_given_up(part: bytes) -> None:
    async with answering(part, stays=True) as asked:
        with pytest.raises(FetchFailed, match=r"no whole answer within 0\.1 s") as failed:
            await fetch(asked[0].decode(), allow_private=True, timeout_s=0.1)
    assert "secret" not in str(failed.value)


@pytest.mark.parametrize("answer", [b"", b"no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
async def test_an_answer_that_is_none_fails_without_telling_the_query(answer: bytes) -> None:
    async with answering(answer) as asked:
        with pytest.raises(FetchFailed, match=r"^http://127\.0\.0\.1:\d+: ") as failed:
            await fetch(asked[0].decode(), allow_private=True)
    assert "secret" not in str(failed.value)
    assert not failed.value.is_ours


async def test_equal_requests_share_an_answer_and_what_differs_does_not() -> None:
    async with answering(http(b"1")) as asked:
        url = asked[0].decode()
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(fetch(url, allow_private=True, shared_s=60))
        await fetch(url, allow_private=True, shared_s=60)
        assert len(asked) == 2
        await fetch(url, allow_private=True, shared_s=60, json=1)
        await fetch(url, allow_private=True)
        assert len(asked) == 4
        with pytest.raises(FetchFailed):
            await fetch(url, shared_s=60)


async def test_who_goes_away_leaves_the_others_their_answer_and_the_last_one_ends_the_request() -> None:
    async with answering(b"", stays=True) as asked:
        url = asked[0].decode()
        first, second = [asyncio.ensure_future(fetch(url, allow_private=True, shared_s=60)) for _ in range(2)]
        while len(asked) < 2:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.01)
        (request,) = [each for each in asyncio.all_tasks() if "_fetch" in str(each.get_coro())]
        first.cancel()
        await asyncio.wait([first])
        assert not request.cancelling()
        second.cancel()
        await asyncio.wait([second])
        assert request.cancelling()
        await asyncio.wait([request])
