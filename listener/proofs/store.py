"""What ``ctx.proofs`` is: from a value to a CID, and from a CID that an attacker may have chosen to a value."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from listener import metrics
from listener.errors import ProofError, ProofNotFound, ProofRejected, ProofUnavailable
from listener.proofs import canonical
from listener.proofs.cid import Cid, parse
from listener.proofs.memory import Remembered
from listener.proofs.source import Backend, Passing, Source
from listener.proofs.unixfs import cid_of, matches

_again = retry(
    retry=retry_if_exception_type(Passing),
    wait=wait_random_exponential(multiplier=0.1, max=2),
    stop=stop_after_attempt(4),
    reraise=True,
)


class Store:
    """
    Keeps proofs in one place, and finds them there and at gateways.

    Args:
        backend: where they are kept.
        gateways: who else may have one; all are asked at once, and the first content that fits its CID is taken.
        cid_version: 0 or 1, of the CIDs that are given.
        timeout_s: for one call, with all its repetitions.
        max_bytes: of one proof.
    """

    def __init__(
        self, backend: Backend, gateways: Sequence[Source] = (), *, cid_version: int, timeout_s: float, max_bytes: int
    ) -> None:
        self._backend = backend
        self._gateways = gateways
        self._cid_version = cid_version
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._remembered = Remembered(max_bytes)

    async def put(self, proof: Any) -> str:
        """Keep a proof and return its CID; it is on disk, or acknowledged, by then."""
        with counted("put"):
            cid, content = self.named(proof)
            try:
                async with asyncio.timeout(self._timeout_s):
                    await _again(self._backend.keep)(cid, content)
            except TimeoutError:
                raise ProofUnavailable(
                    f"proof {cid}: not stored within proofs.timeout_s = {self._timeout_s:g}"
                ) from None
            self._remembered.add(cid, content)
            return str(cid)

    async def get(self, text: str) -> Any:
        """Find a proof and return its value."""
        with counted("get"):
            cid = parse(text)
            content = self._remembered.get(cid)
            if content is None:
                content = await self._found(cid)
                self._remembered.add(cid, content)
            return canonical.decode(content)

    def named(self, proof: Any) -> tuple[Cid, bytes]:
        """
        Give a proof's CID and content, and keep nothing.

        Raises:
            ProofError: it is not JSON, or too large.
        """
        content = canonical.encode(proof)
        if len(content) > self._max_bytes:
            raise ProofError(f"the proof has {len(content)} bytes, more than proofs.max_bytes = {self._max_bytes}")
        return cid_of(content, self._cid_version), content

    async def _found(self, cid: Cid) -> bytes:
        """
        Ask where it is kept, then all gateways at once: one that hangs must not keep the others waiting.

        Raises:
            ProofNotFound: every gateway answered, and none has it.
            ProofUnavailable: that cannot be said.
        """
        failures: list[ProofError] = []
        turns = [[self._backend], self._gateways] if self._backend.near else [[self._backend, *self._gateways]]
        try:
            async with asyncio.timeout(self._timeout_s):
                for sources in turns:
                    found = await self._first(sources, cid, failures)
                    if found is not None:
                        return found
        except TimeoutError:
            failures.append(ProofUnavailable(f"no answer within proofs.timeout_s = {self._timeout_s:g}"))
        raise self._failure(cid, failures)

    async def _first(self, sources: Sequence[Source], cid: Cid, failures: list[ProofError]) -> bytes | None:
        """Ask all at once, and take the first content; None where nobody gave any, with the reasons in ``failures``."""
        asked = [asyncio.ensure_future(self._verified(source, cid)) for source in sources]
        try:
            for answer in asyncio.as_completed(asked):
                try:
                    return await answer
                except (ProofNotFound, ProofUnavailable) as error:
                    failures.append(error)
        finally:
            for each in asked:
                each.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        return None

    def _failure(self, cid: Cid, failures: Sequence[ProofError]) -> ProofError:
        """Say what it means that nobody gave it."""
        reasons = "; ".join(str(failure) for failure in failures)
        if not self._gateways:
            reasons += "; no proofs.gateways are set, so nobody else was asked"
        elif all(isinstance(failure, ProofNotFound) for failure in failures):
            return ProofNotFound(f"proof {cid} is not to be had: {reasons}")
        return ProofUnavailable(f"proof {cid} cannot be read: {reasons}")

    @_again
    async def _verified(self, source: Source, cid: Cid) -> bytes:
        content = await source.find(cid, self._max_bytes)
        if not matches(content, cid):
            raise ProofNotFound(f"{source} gave what does not match the CID")
        return content


@contextmanager
def counted(call: str) -> Iterator[None]:
    """Count what comes of a call: ``put`` or ``get``."""
    outcome = "ok"
    try:
        yield
    except ProofError as error:
        outcome = "rejected" if isinstance(error, ProofRejected) else "refused"
        if isinstance(error, ProofUnavailable):
            outcome = "unavailable"
        raise
    finally:
        metrics.proofs.labels(call, outcome).inc()


class LookUp:
    """
    What ``ctx.proofs`` is in ``validate``: it finds what the store finds, and keeps nothing.

    A validator that executes again wants the CID, to compare it; whoever sends claims must not fill our disk.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(self, proof: Any) -> str:
        """Return the CID that the proof would have."""
        return str(self._store.named(proof)[0])

    async def get(self, text: str) -> Any:
        """Find a proof and return its value."""
        return await self._store.get(text)
