"""Gateways: whoever serves content at ``…/ipfs/CID``, another daemon of ours among them."""

from yarl import URL

from listener.config import Url
from listener.errors import ProofNotFound, ProofUnavailable
from listener.proofs.cid import Cid
from listener.proofs.exchange import exchange


class Gateway:
    """
    One gateway.

    Args:
        url: its base, with or without ``/ipfs/`` at the end of the path; a query, such as a token, is kept.
    """

    def __init__(self, url: Url) -> None:
        self._shown = url.redacted
        self._url = URL(url.get_secret_value())
        path = self._url.raw_path.rstrip("/")
        self._path = path if path.endswith("/ipfs") else f"{path}/ipfs"

    def __str__(self) -> str:
        return self._shown

    async def find(self, cid: Cid, limit_bytes: int) -> bytes:
        """Fetch content; only 404 and 410 say that there is none."""
        url = self._url.with_path(f"{self._path}/{cid}", encoded=True, keep_query=True)
        answer = await exchange("GET", url, self._shown, limit_bytes=limit_bytes)
        if answer.status in (404, 410):
            raise ProofNotFound(f"{self._shown}: HTTP {answer.status}")
        if answer.status != 200:
            raise ProofUnavailable(f"{self._shown}: HTTP {answer.status}")
        return answer.body
