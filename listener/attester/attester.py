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
WORDS = ("approve", "reject", "unsure", "busy")
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
        # Looked up once: a request must not pay for finding them.
        self._counters = {
            number: {word: metrics.validations.labels(each.rule, word) for word in WORDS}
            for number, each in definitions.items()
        }
        self._seconds = {number: metrics.validation_seconds.labels(each.rule) for number, each in definitions.items()}
        self._waiting: Counter[int] = Counter()  # requests, by definition
        self._in_hand: dict[str, asyncio.Future[Judgement]] = {}  # by key
        self._votes: dict[str, tuple[float, Answer]] = {}  # by key, oldest first; until when

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
        key, number = claim.key, claim.task_definition_id
        count = self._counters[number]
        vote = self._remembered(key)
        if vote is not None:
            count["approve" if vote.data else "reject"].inc()
            return vote
        if self._waiting[number] >= self._room_of_one or self._waiting.total() >= self._room:
            count["busy"].inc()
            return Answer(503, data=False, message="too many claims at a time; try again")
        self._waiting[number] += 1
        try:
            # Shielded: others may wait for the same judgement, and who comes later wants it too.
            verdict = (await asyncio.shield(self._judged(key, claim, definition))).verdict
        finally:
            self._waiting[number] -= 1
        count[verdict.word].inc()
        return Answer.of(verdict)

    def _judged(self, key: str, claim: Claim, definition: Definition) -> "asyncio.Future[Judgement]":
        """Have a claim judged; equal claims at the same time share one judgement."""
        judged = self._in_hand.get(key)
        if judged is None:
            judged = self._in_hand[key] = definition.judge(claim)
            judged.add_done_callback(partial(self._keep, key, claim, definition.rule, time.monotonic()))
        return judged

    def _keep(self, key: str, claim: Claim, rule: str, begun: float, judged: "asyncio.Future[Judgement]") -> None:
        del self._in_hand[key]
        judgement = judged.result()
        now = time.monotonic()
        self._seconds[claim.task_definition_id].observe(now - begun)
        _report(claim, rule, judgement)
        if judgement.verdict.approved is None:
            return  # it may be able to judge at the next call
        while len(self._votes) >= REMEMBERED:
            del self._votes[next(iter(self._votes))]
        self._votes[key] = now + REMEMBERED_S, Answer.of(judgement.verdict)

    def _remembered(self, key: str) -> Answer | None:
        until, vote = self._votes.get(key, (0.0, None))
        if vote is not None and until < time.monotonic():
            del self._votes[key]
            return None
        return vote


def _report(claim: Claim, rule: str, judgement: Judgement) -> None:
    """Log what was judged, by the digest that the contract knows it by."""
    verdict = judgement.verdict
    if verdict.approved:
        log.debug("claim.approved", rule=rule, claim=claim.key)
        return
    name, level = ("claim.unsure", log.warning) if verdict.approved is None else ("claim.rejected", log.info)
    digest = digest_of(claim.proof_of_task, claim.data, claim.performer, claim.task_definition_id)
    level(name, rule=rule, claim=claim.key, digest=f"0x{digest.hex()}", reason=redacted(judgement.told) or None)
