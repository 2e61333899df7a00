"""Claims are judged once, votes are remembered for a while, and what is too much is refused at once."""

import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from listener import logs as logs_module
from listener import metrics
from listener.attester import Answer, Attester, Definition
from listener.attester import attester as module
from listener.model import Claim, Judgement, Verdict
from listener.signing import digest_of

PERFORMER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"


class Judges:
    """A judge whose judgements the test gives."""

    def __init__(self) -> None:
        self.asked: list[tuple[Claim, asyncio.Future[Judgement]]] = []
        self.at_once: Verdict | None = None  # given in the next turn of the loop

    def judge(self, claim: Claim) -> asyncio.Future[Judgement]:
        future: asyncio.Future[Judgement] = asyncio.get_running_loop().create_future()
        self.asked.append((claim, future))
        if self.at_once is not None:
            asyncio.get_running_loop().call_soon(future.set_result, Judgement(self.at_once))
        return future

    def say(self, number: int, verdict: Verdict, detail: str = "") -> None:
        self.asked[number][1].set_result(Judgement(verdict, detail))


@pytest.fixture
def judges() -> Judges:
    return Judges()


def attester(judges: Judges, room: int = 100) -> Attester:
    return Attester({number: Definition(f"rule {number}", judges.judge) for number in (1, 2)}, room)


def body(proof: str = "proof", definition: int = 1, performer: str = PERFORMER, data: str = "0x") -> bytes:
    fields = {"proofOfTask": proof, "data": data, "taskDefinitionId": definition, "performer": performer}
    return json.dumps(fields).encode()


async def asked(served: Attester, *bodies: bytes) -> list[asyncio.Task[Answer]]:
    tasks = [asyncio.ensure_future(served.answer(each)) for each in bodies]
    await asyncio.sleep(0)
    return tasks


def counted(verdict: str) -> float:
    labels = {"rule": "rule 1", "verdict": verdict}
    return metrics.registry.get_sample_value("listener_validations_total", labels) or 0


@pytest.mark.parametrize(
    ("verdict", "answer"),
    [
        (Verdict.approve(), Answer(200, data=True, message=None)),
        (Verdict.reject("wrong price"), Answer(200, data=False, message="wrong price")),
        (Verdict.unsure("no source"), Answer(503, data=False, message="no source")),
        (Verdict.unsure(""), Answer(503, data=False, message="the task cannot judge it")),
    ],
    ids=str,
)
async def test_a_verdict_is_told_as_a_vote_or_as_none(judges: Judges, verdict: Verdict, answer: Answer) -> None:
    judges.at_once = verdict
    before = counted(verdict.word)
    assert await attester(judges).answer(body()) == answer
    assert answer.error == (verdict.approved is None)
    assert judges.asked[0][0] == Claim("proof", b"", 1, PERFORMER)
    assert counted(verdict.word) - before == 1


async def test_what_is_no_claim_asks_nobody(judges: Judges) -> None:
    answer = await attester(judges).answer(b"{}")
    assert (answer.status, answer.data, answer.error) == (400, False, True)
    assert not judges.asked


async def test_a_definition_that_no_task_judges_is_named_with_those_that_are_known(judges: Judges) -> None:
    answer = await attester(judges).answer(body(definition=7))
    assert answer == Answer(404, data=False, message="no task here judges taskDefinitionId 7; known: 1, 2")


@pytest.mark.parametrize("verdict", [Verdict.approve(), Verdict.reject("wrong")], ids=str)
async def test_a_vote_is_remembered_for_a_while(
    judges: Judges, verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = attester(judges)
    judges.at_once = verdict
    first = await served.answer(body())
    again = await served.answer(body(performer=PERFORMER.lower()))
    assert (first, len(judges.asked)) == (again, 1)
    for other in (body("other"), body(data="0x00"), body(definition=2), body(performer="0x" + "11" * 20)):
        await served.answer(other)
    assert len(judges.asked) == 5, "each of the four values makes another claim"
    monkeypatch.setattr(module.time, "monotonic", lambda now=module.time.monotonic: now() + module.REMEMBERED_S + 1)
    await served.answer(body())
    assert len(judges.asked) == 6


async def test_to_be_unsure_is_not_remembered(judges: Judges) -> None:
    served = attester(judges)
    judges.at_once = Verdict.unsure("the source is down")
    await served.answer(body())
    judges.at_once = Verdict.approve()
    assert (await served.answer(body())).data is True


async def test_only_so_many_votes_are_remembered(judges: Judges, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 3)
    served = attester(judges)
    judges.at_once = Verdict.approve()
    for proof in ("a", "b", "c", "d", "d", "c", "b"):
        await served.answer(body(proof))
    assert len(judges.asked) == 4
    await served.answer(body("a"))
    assert len(judges.asked) == 5


async def test_equal_requests_at_the_same_time_share_one_judgement(judges: Judges) -> None:
    waiting = await asked(attester(judges), *[body()] * 5, body(performer=PERFORMER.lower()))
    assert len(judges.asked) == 1
    judges.say(0, Verdict.reject("wrong"))
    assert [(await each).message for each in waiting] == ["wrong"] * 6


async def test_a_request_that_is_given_up_takes_the_judgement_from_nobody(judges: Judges) -> None:
    served = attester(judges)
    first, second = await asked(served, body(), body())
    first.cancel()
    await asyncio.wait([first])
    judges.say(0, Verdict.approve())
    assert (await second).data is True
    assert (await served.answer(body())).data is True
    assert len(judges.asked) == 1


async def test_claims_beyond_the_room_are_refused_at_once_and_room_is_made_again(judges: Judges) -> None:
    served = attester(judges, room=9)
    before = counted("busy")
    waiting = await asked(served, *[body(f"proof {number}") for number in range(1000)])
    assert len(judges.asked) == 6, "one definition has two thirds of the room"
    refused = [await each for each in waiting if each.done()]
    assert refused == [Answer(503, data=False, message="too many claims at a time; try again")] * 994
    assert counted("busy") - before == 994
    others = await asked(served, *[body(f"proof {number}", definition=2) for number in range(10)])
    assert len(judges.asked) == 9, "another definition has the rest"
    for number in range(9):
        judges.say(number, Verdict.approve())
    await asyncio.wait([*waiting, *others])
    assert sum(each.result().data for each in [*waiting, *others]) == 9
    judges.at_once = Verdict.approve()
    assert (await served.answer(body("one more"))).data is True


async def test_a_remembered_vote_needs_no_room(judges: Judges) -> None:
    served = attester(judges, room=3)
    judges.at_once = Verdict.approve()
    await served.answer(body())
    judges.at_once = None
    waiting = await asked(served, body("slow"), body("slower"))
    assert (await served.answer(body())).data is True
    for number in (1, 2):
        judges.say(number, Verdict.approve())
    await asyncio.wait(waiting)


@pytest.mark.parametrize(
    ("verdict", "event", "level"),
    [
        (Verdict.approve(), "claim.approved", "debug"),
        (Verdict.reject("wrong"), "claim.rejected", "info"),
        (Verdict.unsure("validate raised OSError"), "claim.unsure", "warning"),
    ],
    ids=str,
)
async def test_a_judgement_is_logged_once_with_what_only_the_operator_is_told(
    judges: Judges, verdict: Verdict, event: str, level: str
) -> None:
    served = attester(judges)
    with capture_logs() as logs:
        waiting: list[Any] = await asked(served, body(), body())
        judges.say(0, verdict, "OSError: the node is down (price.py:7)" if verdict.approved is None else "")
        answers = [await each for each in waiting]
    (line,) = logs
    assert (line["event"], line["log_level"], line["rule"]) == (event, level, "rule 1")
    if verdict.approved is None:
        assert line["digest"] == f"0x{digest_of('proof', b'', PERFORMER, 1).hex()}"
        assert line["reason"] == "validate raised OSError: OSError: the node is down (price.py:7)"
        assert all("price.py" not in (answer.message or "") for answer in answers)


async def test_no_secret_of_the_configuration_is_told_or_logged(
    judges: Judges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs_module, "_redactor", logs_module.Redactor(["sesame-open-1"]))
    for number, verdict in enumerate((Verdict.reject, Verdict.unsure)):
        with capture_logs() as logs:
            (waiting,) = await asked(attester(judges), body())
            judges.say(number, verdict("https://host/?key=sesame-open-1 says no"), "sesame-open-1")
            answer = await waiting
        assert "says no" in (answer.message or "")
        assert "sesame-open-1" not in f"{answer} {logs}"
