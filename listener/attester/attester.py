"""
Answers ``POST /task/validate``: finds the task that judges a claim, has it judged once, and remembers votes a while.

It counts what it has in hand, so that claims which nobody can judge in time keep neither other definitions' claims nor
other requests waiting.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import structlog

from listener import metrics
from listener.attester.answer import Answer
from listener.attester.claim import BadClaim, read
from listener.logs import redacted
from listener.model import Claim, Judgement
from listener.signing.digest import digest_of

log = structlog.get_logger()

REMEMBERED_S = 10.0  # nodes ask again when an answer is late; a price may change after that
REMEMBERED = 4096  # votes; the oldest are forgotten first


@dataclass(frozen=True, slots=True)
class Definition:
    """Who judges the claims of one task definition; ``rule`` names it in logs and metrics."""

    rule: str
    judge: Callable[[Claim], "asyncio.Future[Judgement]"]


class Attester:
    """
    Answers claims.

    Args:
        definitions: by task definition id.
        room: how many requests may wait for a verdict at a time; one definition's get two thirds of it.
    """

    def __init__(self, definitions: Mapping[int, Definition], room: int) -> None:
        self._definitions = definitions
        self._room = max(1, room)
        self._room_of_one = max(1, room * 2 // 3)
        self._waiting: Counter[int] = Counter()  # requests, by definition
        self._in_hand: dict[bytes, asyncio.Future[Judgement]] = {}  # by digest
        self._votes: dict[bytes, tuple[float, Answer]] = {}  # by digest, oldest first; until when

    async def answer(self, body: bytes) -> Answer:
        """Answer one request."""
        try:
            claim = read(body)
        except BadClaim as error:
            return Answer(400, data=False, message=str(error))
        number = claim.task_definition_id
        definition = self._definitions.get(number)
        if definition is None:
            known = ", ".join(map(str, sorted(self._definitions)))
            return Answer(404, data=False, message=f"no task here judges taskDefinitionId {number}; known: {known}")
        return await self._of(claim, definition)

    async def _of(self, claim: Claim, definition: Definition) -> Answer:
        digest = digest_of(claim.proof_of_task, claim.data, claim.performer, claim.task_definition_id)
        vote = self._remembered(digest)
        if vote is not None:
            _count(definition, "approve" if vote.data else "reject")
            return vote
        number = claim.task_definition_id
        if self._waiting[number] >= self._room_of_one or self._waiting.total() >= self._room:
            _count(definition, "busy")
            return Answer(503, data=False, message="too many claims at a time; try again")
        self._waiting[number] += 1
        try:
            # Shielded: others may wait for the same judgement, and who comes later wants it too.
            verdict = (await asyncio.shield(self._judged(digest, claim, definition))).verdict
        finally:
            self._waiting[number] -= 1
        _count(definition, verdict.word)
        return Answer.of(verdict)

    def _judged(self, digest: bytes, claim: Claim, definition: Definition) -> "asyncio.Future[Judgement]":
        """Have a claim judged; equal claims at the same time share one judgement."""
        judged = self._in_hand.get(digest)
        if judged is None:
            judged = self._in_hand[digest] = definition.judge(claim)
            judged.add_done_callback(partial(self._keep, digest, definition, time.monotonic()))
        return judged

    def _keep(self, digest: bytes, definition: Definition, begun: float, judged: "asyncio.Future[Judgement]") -> None:
        del self._in_hand[digest]
        judgement = judged.result()
        now = time.monotonic()
        metrics.validation_seconds.labels(definition.rule).observe(now - begun)
        _report(digest, definition, judgement)
        if judgement.verdict.approved is None:
            return  # it may be able to judge at the next call
        while len(self._votes) >= REMEMBERED:
            del self._votes[next(iter(self._votes))]
        self._votes[digest] = now + REMEMBERED_S, Answer.of(judgement.verdict)

    def _remembered(self, digest: bytes) -> Answer | None:
        until, vote = self._votes.get(digest, (0.0, None))
        if vote is not None and until < time.monotonic():
            del self._votes[digest]
            return None
        return vote


def _count(definition: Definition, verdict: str) -> None:
    metrics.validations.labels(definition.rule, verdict).inc()


def _report(digest: bytes, definition: Definition, judgement: Judgement) -> None:
    verdict = judgement.verdict
    level = log.debug if verdict.approved else log.warning if verdict.approved is None else log.info
    name = {True: "claim.approved", False: "claim.rejected", None: "claim.unsure"}[verdict.approved]
    level(name, rule=definition.rule, claim=f"0x{digest.hex()}", reason=redacted(judgement.told) or None)
