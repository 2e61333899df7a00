"""``GET /ipfs/{cid}``: the proofs of the local store, for attesters and whoever else checks them."""

import asyncio

from aiohttp import hdrs, web
from pydantic import Field

from listener.errors import ProofNotFound, ProofRejected, ProofUnavailable
from listener.proofs.cid import LONGEST, parse
from listener.proofs.folder import Folder
from listener.web.envelope import TYPE, Refused
from listener.web.query import Question
from listener.web.route import Route

READ_S = 10.0  # a disk that hangs must not hold the places of all requests
FOR_EVER = "public, max-age=31536000, immutable"  # a CID never gets other content


class ProofNamed(Question):
    """The path of one proof."""

    cid: str = Field(max_length=LONGEST, description="A CID of version 0 or 1, in any of its spellings.")


def ipfs_route(folder: Folder, max_bytes: int) -> Route:
    """Make the route; only what the folder holds under a CID is served, never what gateways have."""

    async def handle(request: web.Request) -> web.Response:
        try:
            cid = parse(request.match_info["cid"])
        except ProofRejected as error:
            raise Refused(404, str(error).replace("the proof is", "this is", 1)) from None
        try:
            async with asyncio.timeout(READ_S):
                content = await folder.find(cid, max_bytes)
        except ProofNotFound:
            raise Refused(404, f"there is no proof {cid} here") from None
        except (ProofUnavailable, TimeoutError):
            raise Refused(503, "the proof cannot be read just now", headers={"Retry-After": "1"}) from None
        headers = {hdrs.CACHE_CONTROL: FOR_EVER, hdrs.ETAG: f'"{cid}"', "X-Content-Type-Options": "nosniff"}
        return web.Response(body=content, content_type=TYPE, headers=headers)

    return Route(
        method=hdrs.METH_GET,
        path="/ipfs/{cid}",
        handler=handle,
        for_attesters=True,
        summary="One proof of the local store, as it was hashed.",
        named=ProofNamed,
        enveloped=False,
        statuses=(404, 503),
    )
