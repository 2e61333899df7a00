"""
Stand-ins for those who keep and serve proofs: a kubo node's RPC API, Pinata's pinning API, and a gateway.

Real servers on loopback; what they keep is in ``kept``, and ``answer`` lets them misbehave.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from listener.errors import ProofRejected
from listener.proofs.cid import Cid, parse
from listener.proofs.unixfs import Layout, cid_of

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeIpfs:
    """
    Keeps files by CID, and answers as ``/api/v0/add``, ``/api/v0/cat``, ``/api/v0/pin/ls`` (kubo),
    ``/pinning/pinFileToIPFS`` (Pinata) and ``/ipfs/CID`` (a gateway).
    """

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}  # by the CID in base32
        self.requests: list[tuple[str, dict[str, str]]] = []  # path with query, and headers
        self.answer: Answer | None = None  # in place of the usual one
        self.url = ""  # while it is open

    @asynccontextmanager
    async def open(self) -> AsyncIterator["FakeIpfs"]:
        """Listen on a free port until the block ends."""
        app = web.Application(client_max_size=2**27)
        app.router.add_post("/api/v0/add", self._add)
        app.router.add_post("/api/v0/cat", self._cat)
        app.router.add_post("/api/v0/pin/ls", self._pins)
        app.router.add_post("/pinning/pinFileToIPFS", self._pin)
        app.router.add_get("/ipfs/{cid}", self._serve)
        runner = web.AppRunner(_noted(app, self), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _add(self, request: web.Request) -> web.StreamResponse:
        name, content = await _file(request)
        version = int(request.query.get("cid-version", "0"))
        raw = request.query.get("raw-leaves", "true" if version else "false") == "true"
        chunk = int(request.query.get("chunker", "size-262144").removeprefix("size-"))
        cid = self._keep(content, version, raw, Layout(chunk))
        said = {"Name": name or str(cid), "Hash": str(cid), "Size": str(len(content))}
        return web.Response(text=json.dumps(said) + "\n", content_type="application/json")

    async def _cat(self, request: web.Request) -> web.StreamResponse:
        content = self.kept.get(parse(request.query["arg"].removeprefix("/ipfs/")).name)
        if content is None:
            said = f"block was not found locally (offline): ipld: could not find {request.query['arg']}"
            return web.json_response({"Message": said, "Code": 0, "Type": "error"}, status=500)
        return web.Response(body=content[: int(request.query.get("length", len(content)))], content_type="text/plain")

    async def _pins(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response({"Keys": {name: {"Type": "recursive"} for name in self.kept}})

    async def _pin(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        file = form["file"]
        assert isinstance(file, web.FileField)  # noqa: S101 - for mypy
        version = json.loads(str(form["pinataOptions"]))["cidVersion"]
        content = file.file.read()
        cid = self._keep(content, version, version == 1, Layout())
        said = {"IpfsHash": str(cid), "PinSize": len(content), "Timestamp": "2026-01-01T00:00:00.000Z"}
        return web.json_response(said)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            content = self.kept.get(parse(request.match_info["cid"]).name)
        except ProofRejected as error:
            return web.Response(status=400, text=str(error))
        return web.Response(status=404) if content is None else web.Response(body=content)

    def _keep(self, content: bytes, version: int, raw: bool, layout: Layout) -> Cid:  # noqa: FBT001 - as kubo names it
        cid = cid_of(content, version, raw_leaves=raw, layout=layout)
        self.kept[cid.name] = content
        return cid


def _noted(app: web.Application, fake: FakeIpfs) -> web.Application:
    @web.middleware
    async def note(request: web.Request, handler: Any) -> web.StreamResponse:
        fake.requests.append((request.path_qs, dict(request.headers)))
        found: web.StreamResponse = await (fake.answer or handler)(request)
        return found

    app.middlewares.append(note)
    return app


async def _file(request: web.Request) -> tuple[str, bytes]:
    reader = await request.multipart()
    part: Any = await reader.next()
    return part.filename or "", bytes(await part.read(decode=False))
