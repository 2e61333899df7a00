"""
A kubo node, by its RPC API: https://docs.ipfs.tech/reference/kubo/rpc/.

All that decides the CID is said with each proof: the node's own configuration may say otherwise.
"""

import json
from collections.abc import Mapping

import aiohttp
from yarl import URL

from listener.config import Url
from listener.errors import ProofError, ProofNotFound, ProofRejected
from listener.proofs.cid import Cid, parse
from listener.proofs.exchange import ANSWER_BYTES, Answer, exchange, refusal
from listener.proofs.source import Passing
from listener.proofs.unixfs import KUBO

# What kubo says where it has not got a block and does not look for it elsewhere.
_NOT_THERE = ("could not find", "not found")


class Kubo:
    """
    Keeps proofs at a kubo node, pinned, and asks it for others'.

    Args:
        url: of its RPC API, such as ``http://127.0.0.1:5001``.
        token: a bearer token, where its ``API.Authorizations`` wants one.
    """

    near = False  # it looks for what it lacks in the whole network

    def __init__(self, url: Url, token: str | None) -> None:
        self._shown = url.redacted
        self._url = URL(url.get_secret_value())
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def __str__(self) -> str:
        return self._shown

    async def keep(self, cid: Cid, content: bytes) -> None:
        """Add and pin content, and make sure that the node calls it what we do."""
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("file", content, filename="proof.json", content_type="application/octet-stream")
        how = {
            "pin": "true",
            "cid-version": str(cid.version),
            "raw-leaves": "true" if cid.version else "false",
            "chunker": f"size-{KUBO.chunk_bytes}",
        }
        answer = await self._call("add", how, data=form)
        if answer.status != 200:
            raise refusal(answer, self._shown)
        named(answer.body.strip().rpartition(b"\n")[2], "Hash", cid, self._shown)

    async def find(self, cid: Cid, limit_bytes: int) -> bytes:
        """Fetch content; a node that is online goes on looking until the time is over."""
        answer = await self._call("cat", {"arg": str(cid), "length": str(limit_bytes + 1)}, limit_bytes=limit_bytes)
        if answer.status == 200:
            return answer.body
        failure = refusal(answer, self._shown)
        if any(words in str(failure) for words in _NOT_THERE):
            raise ProofNotFound(f"{self._shown}: it has it not")
        raise Passing(str(failure))

    async def _call(
        self,
        command: str,
        query: Mapping[str, str],
        *,
        data: aiohttp.FormData | None = None,
        limit_bytes: int = ANSWER_BYTES,
    ) -> Answer:
        url = (self._url / "api/v0" / command).update_query(query)
        return await exchange("POST", url, self._shown, limit_bytes=limit_bytes, headers=self._headers, data=data)


def named(body: bytes, field: str, cid: Cid, shown: str) -> None:
    """
    Make sure that a service calls what it kept by the same CID.

    Raises:
        ProofError: it does not.
    """
    try:
        given = json.loads(body)[field]
        same = isinstance(given, str) and parse(given).name == cid.name
    except (ValueError, TypeError, KeyError, RecursionError, ProofRejected):
        raise ProofError(f"{shown}: its answer names no CID; is this its RPC API?") from None
    if not same:
        raise ProofError(f"{shown}: it calls proof {cid} {given!r:.100}, so it did not keep what was sent")
