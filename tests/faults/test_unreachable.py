"""An endpoint that cannot be reached, or lets nobody in, is named once with its reason; no key is, and others go on."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from following import BLOCKS, following, write_config

from listener.testing import FakeNode

FOLLOWER = "follower"
KEY = "c0ffee00c0ffee00c0ffee00c0ffee00"
NOWHERE = "node.nowhere.example"
SAID = {
    "name": "its host name is not known; look at the URL, and at the name service (DNS)",
    "tls": "look whether the URL should begin with https or wss",
    "locked": "HTTP 401: it does not let us in; look at the key in its URL",
    "locked, with JSON": "invalid project id (HTTP 401)",
    "certificate": "TLS: its certificate is not valid: self-signed certificate",
    "nobody": "",
}
CERTIFICATE = Path(__file__).parents[1] / "samples" / "tls" / "selfsigned.pem"


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server that lets nobody in, and repeats the key that it was shown."""

    async def refuse(request: web.BaseRequest) -> web.Response:
        if "json" in request.path:
            error = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "invalid project id"}}
            return web.json_response(error, status=401)
        return web.Response(status=401, text=f"<html>{request.path}?</html>")

    runner = web.ServerRunner(web.Server(refuse, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.fixture
async def locked() -> AsyncIterator[int]:
    async with serving() as port:
        yield port


@pytest.fixture
async def unvouched() -> AsyncIterator[int]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE)
    async with serving(tls) as port:
        yield port


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name service that knows all but one, and needs no network."""
    known = socket.getaddrinfo

    def look(host: Any, *more: Any, **options: Any) -> Any:
        if host == NOWHERE:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look)


@pytest.mark.parametrize("scheme", ["http", "ws"])
@pytest.mark.parametrize("why", SAID)
async def test_it_is_named_with_its_reason_and_the_other_one_is_followed(
    node: FakeNode, locked: int, unvouched: int, tmp_path: Path, logs: list[Any], *, scheme: str, why: str
) -> None:
    places = {"name": f"{NOWHERE}:1", "tls": f"127.0.0.1:{node.port}", "nobody": "127.0.0.1:9"}
    place = places.get(why, f"127.0.0.1:{unvouched if why == 'certificate' else locked}")
    secure = "s" if why in {"tls", "certificate"} else ""
    path = "json" if why == "locked, with JSON" else "v3"
    url = f"{scheme}{secure}://{place}/{path}/{KEY}"
    async with following(write_config(tmp_path, [url, node.ws_url], BLOCKS), FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine(count=3)
        await daemon.walked(13)
        event = "endpoint.failed" if scheme == "http" else "websocket.connect_failed"
        await daemon.until(lambda: any(line["event"] == event for line in logs))
    said = SAID["locked"] if (scheme, why) == ("ws", "locked, with JSON") else SAID[why]
    (warned,) = [line for line in logs if line["event"] == event and line["log_level"] == "warning"]
    assert said in warned["reason"]
    assert place in warned["endpoint"]
    assert KEY not in str(logs)
    assert not [line for line in logs if line["event"] == "chain.unavailable"]


async def test_the_only_endpoint_that_lets_nobody_in_is_named_by_the_chain_as_well(
    locked: int, tmp_path: Path, logs: list[Any]
) -> None:
    url = f"http://127.0.0.1:{locked}/v3/{KEY}"
    async with following(write_config(tmp_path, [url], BLOCKS), FOLLOWER) as daemon:
        await daemon.until(lambda: any(line["event"] == "chain.unavailable" for line in logs))
        assert daemon.cursor == -2
    told = next(line for line in logs if line["event"] == "chain.unavailable")
    assert SAID["locked"] in told["reason"]
    assert KEY not in str(logs)


async def test_one_that_fails_again_after_it_worked_is_named_again(
    node: FakeNode, tmp_path: Path, logs: list[Any]
) -> None:
    def warned() -> int:
        return [line["event"] for line in logs].count("endpoint.failed")

    async with FakeNode(node.chain) as second:
        written = write_config(tmp_path, [second.http_url, node.ws_url], BLOCKS, chain='max_lag = "1s"')
        async with following(written, FOLLOWER) as daemon:
            await daemon.walked(10)

            async def mined_until(condition: Callable[[], bool]) -> None:
                async with asyncio.timeout(20):
                    while not condition():
                        await node.mine()
                        await daemon.walked(node.chain.head.number)

            for turn in (1, 2):
                second.http = web.Response(status=500, body=b"no")
                await mined_until(lambda turn=turn: warned() >= turn)  # type: ignore[misc]
                second.http = None
                asked = len(second.calls)
                await mined_until(lambda asked=asked: len(second.calls) >= asked + 3)  # type: ignore[misc]
    assert warned() == 2
