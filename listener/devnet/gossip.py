"""
What becomes of a task after it was accepted: the attesters are asked, and their votes weighed as the contract does.

Each attester is a validation service with ``POST /task/validate``, and has one vote. Who does not answer, or cannot
judge, has not voted, and is asked again for a while.
"""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from listener.devnet.attestation import Call

PATH = "/task/validate"
ANSWER_S = 10.0
AGAIN_S = 0.5  # between two questions to one that has not voted
VOTING_S = 30.0  # from when a task was accepted
AT_ONCE = 16  # questions to one attester


class Gossip:
    """Asks attesters about tasks; use it as an async context manager."""

    def __init__(self, attesters: Sequence[str]) -> None:
        """``attesters`` are URLs without path."""
        self.approved: set[bytes] = set()  # digests
        self.rejected: set[bytes] = set()
        self.votes: dict[bytes, list[bool]] = {}
        self._attesters = {url: asyncio.Semaphore(AT_ONCE) for url in attesters}
        self._group = asyncio.TaskGroup()
        self._session: aiohttp.ClientSession | None = None
        self._asking: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S))
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self._asking:
            each.cancel()
        await self._group.__aexit__(kind, error, trace)
        if self._session is not None:
            await self._session.close()

    @property
    def is_open(self) -> bool:
        """Whether an attester is still asked about a task without an outcome."""
        return bool(self._asking)

    def spread(self, call: Call) -> None:
        """Have all attesters asked about a task; their votes are counted as they come."""
        self.votes[call.digest] = []
        for url in self._attesters:
            asking = self._group.create_task(self._ask(url, call))
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)

    async def _ask(self, url: str, call: Call) -> None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + VOTING_S
        while loop.time() < ends_at and not self._is_decided(call.digest):
            async with self._attesters[url]:
                vote = await self._vote(url, call)
            if vote is not None:
                self._count(call.digest, vote=vote)
                return
            await asyncio.sleep(AGAIN_S)

    async def _vote(self, url: str, call: Call) -> bool | None:
        """Ask one attester; None where it has no vote to give."""
        if self._session is None:
            return None
        body = orjson.dumps(
            {
                "proofOfTask": call.proof_of_task,
                "data": f"0x{call.data.hex()}",
                "taskDefinitionId": call.task_definition_id,
                "performer": call.performer,
            }
        )
        headers = {"Content-Type": "application/json"}
        try:
            async with self._session.post(f"{url}{PATH}", data=body, headers=headers) as response:
                answer: Any = orjson.loads(await response.read())
                voted = response.status == 200 and answer.get("error") is False
        except (aiohttp.ClientError, TimeoutError, ValueError, AttributeError):
            return None
        return answer["data"] if voted and isinstance(answer.get("data"), bool) else None

    def _count(self, digest: bytes, *, vote: bool) -> None:
        """Count a vote: above two thirds approve, above one third reject."""
        votes, voters = self.votes[digest], len(self._attesters)
        votes.append(vote)
        if self._is_decided(digest):
            return
        if 3 * sum(votes) > 2 * voters:
            self.approved.add(digest)
        elif 3 * (len(votes) - sum(votes)) > voters:
            self.rejected.add(digest)

    def _is_decided(self, digest: bytes) -> bool:
        return digest in self.approved or digest in self.rejected
