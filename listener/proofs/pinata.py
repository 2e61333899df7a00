"""
Pinata, by its pinning API: https://docs.pinata.cloud/api-reference/pinning/pin-file.

The bytes are sent as a file. ``pinJSONToIPFS`` would write the JSON anew, and so round large integers.
"""

import json
from collections.abc import Mapping

import aiohttp
from yarl import URL

from listener.config import Url
from listener.errors import ProofNotFound
from listener.proofs.cid import Cid
from listener.proofs.exchange import exchange, refusal
from listener.proofs.kubo import named


class Pinata:
    """
    Keeps proofs at Pinata; they are read over gateways.

    Args:
        url: of its API.
        headers: that say who we are.
    """

    near = True  # it is never asked

    def __init__(self, url: Url, headers: Mapping[str, str]) -> None:
        self._shown = url.redacted
        self._url = URL(url.get_secret_value()) / "pinning/pinFileToIPFS"
        self._headers = headers

    def __str__(self) -> str:
        return self._shown

    async def keep(self, cid: Cid, content: bytes) -> None:
        """Pin content, and make sure that it goes by the CID that we gave it."""
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("file", content, filename="proof.json", content_type="application/json")
        form.add_field("pinataOptions", json.dumps({"cidVersion": cid.version}))
        form.add_field("pinataMetadata", json.dumps({"name": f"proof {cid}"}))
        answer = await exchange("POST", self._url, self._shown, headers=self._headers, data=form)
        if answer.status != 200:
            raise refusal(answer, self._shown)
        named(answer.body, "IpfsHash", cid, self._shown)

    async def find(self, cid: Cid, limit_bytes: int) -> bytes:  # noqa: ARG002 - see near
        """Say that gateways have to be asked."""
        raise ProofNotFound("Pinata is read over its gateways")
