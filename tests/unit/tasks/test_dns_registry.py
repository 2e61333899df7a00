"""The DNS registry, called as the daemon calls it, against servers on loopback."""

import base64
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from eth_abi.abi import decode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from pydantic import ValidationError
from web3.exceptions import BlockNotFound

from listener import Claim, ProofUnavailable, TaskContext, TaskResult, Verdict
from listener.devnet import names
from listener.devnet.names import Names
from listener.testing import claim_context, context, event
from tasks import dns_registry
from tasks.dns_registry import Body, Settings, key_of, name_of
from tasks.dns_resolvers import Answer, NoAgreement, ask, place, settle

SOMEONE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
REQUESTER = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
YES = f"avs-requester={REQUESTER.lower()}"
NOW = int(time.time())
KEY = base64.b64encode(bytes(range(256)) + b"0123456789").decode()
DKIM = f"v=DKIM1; k=rsa; p={KEY}"


def zones(*texts: str, key: str = DKIM) -> dict[str, Any]:
    return {
        "example.test": {
            "": {"A": ["127.0.0.1"]},
            "_avs-challenge": {"TXT": list(texts)},
            "_avs-challenge.other": {"TXT": ["nothing of this"]},
            "_avs-challenge.alias": {"CNAME": ["_avs-challenge.example.test."]},
            "_avs-challenge.bare": {"A": ["127.0.0.1"]},
            "s1._domainkey": {"TXT": [key]},
            "s2._domainkey": {"CNAME": ["s1._domainkey.example.test."]},
            "revoked._domainkey": {"TXT": ["v=DKIM1; p="]},
        }
    }


@pytest.fixture
async def servers() -> AsyncIterator[list[Names]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Names(zones(YES))) for _ in range(3)]


def settings_of(servers: list[Names], **changed: Any) -> Settings:
    return Settings.model_validate({"resolvers": [each.resolver for each in servers], **changed})


def requested(settings: Settings, domain: str = "example.test", **changed: Any) -> TaskContext[Settings]:
    args = {"requestId": 7, "requester": REQUESTER, "domain": domain, "recordType": "A", "value": "192.0.2.1"}
    return context(settings, block_number=12, event=event("RecordRequested", {**args, **changed}, log_index=3))


def dkim(settings: Settings, number: int = 12, **changed: Any) -> TaskContext[Settings]:
    return context(settings, block_number=number, block_timestamp=NOW, **changed)


def dkim_settings(servers: list[Names], **changed: Any) -> Settings:
    given = {"mode": "dkim", "trigger": "block", "domain": "example.test", "selector": "s1", **changed}
    return settings_of(servers, **given)


def claim_of(result: TaskResult | None, **changed: Any) -> Claim:
    assert result is not None
    return replace(Claim(result.proof_of_task, result.data, 0, SOMEONE), **changed)


async def judged(claim: Claim, ctx: TaskContext[Settings], **given: Any) -> Verdict:
    try:
        return await dns_registry.validate(claim_context(claim, ctx.settings, found=[ctx], **given), claim)
    except ProofUnavailable as error:
        return Verdict.unsure(str(error))


async def verified(ctx: TaskContext[Settings]) -> bool:
    """Execute, and see the result approved; return what it says."""
    result = await dns_registry.execute(ctx)
    assert await judged(claim_of(result), ctx) == Verdict.approve()
    assert result is not None
    said: bool = decode(["uint256", "string", "string", "string", "bool"], result.data)[4]
    return said


async def test_a_domain_that_names_its_requester_is_verified(servers: list[Names]) -> None:
    ctx = requested(settings_of(servers))
    result = await dns_registry.execute(ctx)
    assert result is not None
    found = decode(["uint256", "string", "string", "string", "bool"], result.data)
    assert found == (7, "example.test", "A", "192.0.2.1", True)
    assert await ctx.proofs.get(result.proof_of_task) == {
        "request": {
            "requestId": 7,
            "requester": REQUESTER.lower(),
            "domain": "example.test",
            "recordType": "A",
            "value": "192.0.2.1",
        },
        "question": "_avs-challenge.example.test",
        "expected": YES,
        "answers": [{"resolver": each.resolver, "status": "NOERROR", "texts": [YES]} for each in servers],
        "verified": True,
        "blockNumber": 12,
        "blockHash": f"0x{bytes(ctx.trigger.block_hash).hex()}",
        "logIndex": 3,
    }
    assert await judged(claim_of(result), ctx) == Verdict.approve()


async def test_what_a_resolver_says_is_told_apart(servers: list[Names]) -> None:
    servers[0].fails = {"broken.test": "SERVFAIL"}
    for name, status in {
        "_avs-challenge.example.test": "NOERROR",
        "_avs-challenge.bare.example.test": "NODATA",
        "nowhere.example.test": "NXDOMAIN",
        "broken.test": "NONE",
        "outside.test": "NONE",
    }.items():
        assert [each.status for each in await ask(name, [servers[0].resolver], 5)] == [status]


@pytest.mark.parametrize("domain", ["other.example.test", "bare.example.test", "nowhere.example.test"])
async def test_a_name_without_the_text_or_that_surely_does_not_exist_is_not_verified(
    servers: list[Names], domain: str
) -> None:
    assert await verified(requested(settings_of(servers), domain)) is False


async def test_an_alias_is_followed(servers: list[Names]) -> None:
    assert await verified(requested(settings_of(servers), "alias.example.test")) is True


async def test_an_alias_that_the_resolver_leaves_to_us_is_followed(
    servers: list[Names], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "HOPS", 1)
    assert await verified(requested(settings_of(servers), "alias.example.test")) is True
    assert all(each.asked["udp"] == 4 for each in servers)  # twice by execute, twice by validate
    for each in servers:
        each.zones["example.test"]["_avs-challenge.away"] = {"CNAME": ["_avs-challenge.outside.test."]}
    with pytest.raises(NoAgreement, match="3 nothing"):  # refused: whether it exists is not known
        await dns_registry.execute(requested(settings_of(servers), "away.example.test"))


async def test_an_alias_to_itself_is_no_answer(servers: list[Names]) -> None:
    for each in servers:
        each.zones["example.test"]["_avs-challenge.loop"] = {"CNAME": ["_avs-challenge.loop.example.test."]}
    with pytest.raises(NoAgreement):
        await dns_registry.execute(requested(settings_of(servers), "loop.example.test"))


async def test_names_are_registered_as_dns_has_them(servers: list[Names]) -> None:
    for each in servers:
        each.zones["xn--bcher-kva.test"] = {"_avs-challenge": {"TXT": [YES]}}
    for domain in ("Bücher.test", "bücher.test.", "XN--BCHER-KVA.test"):
        result = await dns_registry.execute(requested(settings_of(servers), domain))
        assert result is not None
        assert decode(["uint256", "string"], result.data)[1] == "xn--bcher-kva.test"


async def test_what_can_be_no_name_is_not_asked(servers: list[Names]) -> None:
    for domain in ("", ".", "test", "192.0.2.1", "a..test", "-a.test", "a\\.b.test", "a b.test", "x" * 64 + ".test"):
        assert await dns_registry.execute(requested(settings_of(servers), domain)) is None
    assert await dns_registry.execute(requested(settings_of(servers), recordType="ANY")) is None
    assert await dns_registry.execute(requested(settings_of(servers), value="")) is None
    assert all(each.asked == {"udp": 0, "tcp": 0} for each in servers)


async def test_a_long_answer_comes_by_tcp(servers: list[Names]) -> None:
    for each in servers:
        each.zones = zones(YES, *(f"{number} {'x' * 300}" for number in range(20)))
    assert await verified(requested(settings_of(servers))) is True
    assert all(each.asked["tcp"] for each in servers)


async def test_an_answer_beyond_all_measure_is_none(servers: list[Names]) -> None:
    for each in servers:
        each.zones = zones(YES, *(f"{number} {'x' * 1000}" for number in range(20)))
    with pytest.raises(NoAgreement, match="0 of 3 resolvers say the same, 3 nothing"):
        await dns_registry.execute(requested(settings_of(servers)))


@pytest.mark.parametrize("lie", ["yes", "no"])
async def test_one_resolver_that_lies_changes_nothing(servers: list[Names], lie: str) -> None:
    for index, each in enumerate(servers):
        each.zones = zones(YES if (lie == "yes") == (index == 1) else "no")
    assert await verified(requested(settings_of(servers))) is (lie == "no")


@pytest.mark.parametrize("fault", ["SERVFAIL", "REFUSED", "silent"])
async def test_a_resolver_that_fails_says_nothing_and_the_others_still_have_to_agree(
    servers: list[Names], fault: str
) -> None:
    def fail(server: Names) -> None:
        server.silent = fault == "silent"
        server.fails = {} if server.silent else {"_avs-challenge.example.test": fault}

    ctx = requested(settings_of(servers, timeout_s=0.5 if fault == "silent" else 5))
    good = await dns_registry.execute(ctx)
    fail(servers[0])
    assert await verified(ctx) is True
    fail(servers[1])
    with pytest.raises(NoAgreement, match="1 of 3 resolvers say the same, 2 nothing; agree is 2"):
        await dns_registry.execute(ctx)
    verdict = await judged(claim_of(good), ctx)
    assert verdict.approved is None


async def test_resolvers_that_disagree_sign_nothing(servers: list[Names]) -> None:
    servers[0].zones = zones("no")
    with pytest.raises(NoAgreement):
        await dns_registry.execute(requested(settings_of(servers[:2])))


async def test_an_attester_whose_resolvers_say_otherwise_rejects(servers: list[Names]) -> None:
    ctx = requested(settings_of(servers))
    for before, after in ((YES, "no"), ("no", YES)):
        for each in servers:
            each.zones = zones(before)
        claim = claim_of(await dns_registry.execute(ctx))
        for each in servers:
            each.zones = zones(after)
        assert "by our own resolvers" in (await judged(claim, ctx)).reason


CHANGES: list[tuple[str, Any]] = [
    *(("question", "_avs-challenge.other.test"), ("expected", "avs-requester=0x00"), ("verified", False)),
    *(("verified", 1), ("blockNumber", 13), ("blockHash", "0x" + "00" * 32), ("logIndex", 4), ("logIndex", None)),
    *(("answers", []), ("answers", None), ("more", 1)),
    ("answers", [{"resolver": "a", "status": "NXDOMAIN", "texts": []}] * 3),
    ("answers", [{"resolver": "a", "status": "NXDOMAIN", "texts": [YES]}] * 3),
    ("answers", [{"resolver": "a", "status": "NOERROR", "texts": [YES]}]),
    ("answers", [{"resolver": "a", "status": "NONE", "texts": []}] * 3),
    *(("request", {"domain": "other.example.test"}), ("request", {"requestId": 8})),
    *(("request", {"requester": SOMEONE.lower()}), ("request", {"value": "192.0.2.2"})),
]


@pytest.mark.parametrize(("name", "value"), CHANGES, ids=lambda each: str(each)[:40])
async def test_a_proof_that_does_not_fit_itself_its_event_or_the_data_is_rejected(
    servers: list[Names], name: str, value: Any
) -> None:
    ctx = requested(settings_of(servers))
    result = await dns_registry.execute(ctx)
    assert result is not None
    proof = dict(await ctx.proofs.get(result.proof_of_task))
    proof[name] = {**proof["request"], **value} if name == "request" else value
    claim = claim_of(result, proof_of_task=await ctx.proofs.put(proof))
    assert (await judged(claim, ctx)).approved is False


@settings_of_hypothesis(max_examples=60, deadline=None)
@given(place=st.integers(0, 10**6), mask=st.integers(1, 255), what=st.sampled_from(["proof", "data"]))
@pytest.mark.parametrize("mode", ["record", "dkim"])
async def test_a_proof_or_data_with_any_byte_changed_is_not_approved(
    mode: str, place: int, mask: int, what: str
) -> None:
    said = [Answer(resolver="9.9.9.9", status="NOERROR", texts=[YES if mode == "record" else DKIM])] * 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dns_registry, "ask", AsyncMock(return_value=said))
        ctx = requested(Settings()) if mode == "record" else dkim(dkim_settings([], resolvers=Settings().resolvers))
        claim = claim_of(await dns_registry.execute(ctx))
        assert await judged(claim, ctx) == Verdict.approve()
        if what == "data":
            changed = bytearray(claim.data)
            changed[place % len(changed)] ^= mask
            wrong = replace(claim, data=bytes(changed))
        else:
            text = bytearray(claim.proof_of_task.encode())
            text[place % len(text)] ^= mask
            wrong = replace(claim, proof_of_task=text.decode("latin-1"))
        assert (await judged(wrong, ctx)).approved is not True
        if what == "data" or mode == "dkim":
            assert (await judged(wrong, ctx)).approved is False


async def test_a_request_by_http_needs_a_text_that_names_the_record_too(servers: list[Names]) -> None:
    settings = settings_of(servers, trigger="http")
    body = Body(requestId=7, requester=REQUESTER, domain="example.test", recordType="a", value="192.0.2.1")
    ctx = context(settings, block_number=12, body=body)
    w3 = Mock()
    block = {"hash": ctx.trigger.block_hash, "timestamp": NOW}
    w3.eth.get_block = AsyncMock(return_value=block)
    claim = claim_of(await dns_registry.execute(ctx))
    proof = await ctx.proofs.get(claim.proof_of_task)
    assert proof["verified"] is False
    assert await judged(claim, ctx, w3=w3) == Verdict.approve()
    for each in servers:
        each.zones = zones(proof["expected"])
    claim = claim_of(await dns_registry.execute(ctx))
    assert (await ctx.proofs.get(claim.proof_of_task))["verified"] is True
    assert await judged(claim, ctx, w3=w3) == Verdict.approve()
    other = context(settings, block_number=12, body=body.model_copy(update={"value": "192.0.2.2"}))
    assert (await ctx.proofs.get(claim_of(await dns_registry.execute(other)).proof_of_task))["verified"] is False
    w3.eth.get_block = AsyncMock(return_value={**block, "hash": b"\0" * 32})
    assert (await judged(claim, ctx, w3=w3)).approved is False
    w3.eth.get_block = AsyncMock(side_effect=BlockNotFound("12"))
    assert (await judged(claim, ctx, w3=w3)).approved is None


@pytest.mark.parametrize("selector", ["s1", "s2"])
async def test_a_key_in_chunks_or_behind_an_alias_is_hashed_whole_and_bound_to_its_block(
    servers: list[Names], selector: str
) -> None:
    ctx = dkim(dkim_settings(servers, selector=selector))
    result = await dns_registry.execute(ctx)
    assert result is not None
    block_hash = bytes(ctx.trigger.block_hash).hex()
    assert result.proof_of_task == f"0x{keccak(text=KEY).hex()}+12+0x{block_hash}"
    found = decode(["string", "string", "bytes32", "uint64"], result.data)
    assert found == ("example.test", selector, keccak(text=KEY), 12)
    assert await judged(claim_of(result), ctx) == Verdict.approve()


async def test_without_a_key_there_is_nothing_to_sign_and_a_claim_of_one_is_rejected(servers: list[Names]) -> None:
    ctx = dkim(dkim_settings(servers))
    claim = claim_of(await dns_registry.execute(ctx))
    for each in servers:
        each.zones["example.test"]["s1._domainkey"] = {"TXT": ["v=DKIM1; p="]}
    assert await dns_registry.execute(ctx) is None
    assert "no key" in (await judged(claim, ctx)).reason
    assert await dns_registry.execute(dkim(dkim_settings(servers, selector="nowhere"))) is None


async def test_a_key_that_is_another_one_now_is_rejected(servers: list[Names]) -> None:
    ctx = dkim(dkim_settings(servers))
    claim = claim_of(await dns_registry.execute(ctx))
    for each in servers:
        each.zones = zones(key="v=DKIM1; p=QUJD")
    assert "another key" in (await judged(claim, ctx)).reason


async def test_another_spelling_of_a_proof_is_rejected_or_one_request_could_be_settled_twice(
    servers: list[Names],
) -> None:
    ctx = requested(settings_of(servers))
    claim = claim_of(await dns_registry.execute(ctx))
    raw = base64.b32decode(claim.proof_of_task[1:].upper() + "=" * (-len(claim.proof_of_task[1:]) % 8))
    spelled = replace(claim, proof_of_task=f"f{raw.hex()}")
    assert await ctx.proofs.get(spelled.proof_of_task) == await ctx.proofs.get(claim.proof_of_task)
    assert "settled twice" in (await judged(spelled, ctx)).reason
    key = dkim(dkim_settings(servers))
    claim = claim_of(await dns_registry.execute(key))
    spelled = replace(claim, proof_of_task=claim.proof_of_task.replace("+12+", "+012+"))
    assert (await judged(spelled, key)).approved is False


async def test_a_key_of_now_is_not_that_of_an_old_block(servers: list[Names]) -> None:
    old = context(dkim_settings(servers), block_number=12, block_timestamp=NOW - 3700)
    with pytest.raises(dns_registry.Wrong, match="block_age_s"):
        await dns_registry.execute(old)
    young = dkim(dkim_settings(servers))
    claim = claim_of(await dns_registry.execute(young))
    assert "s old" in (await judged(claim, old)).reason


async def test_a_key_by_http_is_judged_by_what_the_data_names(servers: list[Names]) -> None:
    settings = settings_of(servers, mode="dkim", trigger="http")
    ctx = dkim(settings, body=Body(domain="Example.test", selector="S1"))
    w3 = Mock()
    w3.eth.get_block = AsyncMock(return_value={"hash": ctx.trigger.block_hash, "timestamp": NOW})
    claim = claim_of(await dns_registry.execute(ctx))
    assert await judged(claim, ctx, w3=w3) == Verdict.approve()
    assert (await judged(replace(claim, data=b"hello world"), ctx, w3=w3)).approved is False


KEYS = [
    (DKIM, KEY),
    (f"p={KEY}", KEY),
    (f"k=rsa; p={KEY[:100]} \t{KEY[100:]}; t=y;", KEY),
    *((text, "") for text in ("v=DKIM1; p=", f"v=DKIM2; p={KEY}", f"k=rsa; v=DKIM1; p={KEY}", "p=%%", "p=AAA", "p=é")),
    *((text, "") for text in ("", ";", "hello", f"p={KEY}; p={KEY}", "v=spf1 -all", "k=rsa")),
]


@pytest.mark.parametrize(("text", "key"), KEYS, ids=lambda each: repr(each)[:30])
def test_a_key_is_read_from_its_tags(text: str, key: str) -> None:
    assert key_of(Answer(resolver="a", status="NOERROR", texts=[text])) == key


def test_of_two_keys_none_is_taken_and_other_texts_do_not_count() -> None:
    assert key_of(Answer(resolver="a", status="NOERROR", texts=["v=spf1 -all", DKIM])) == KEY
    assert key_of(Answer(resolver="a", status="NOERROR", texts=[DKIM, "p=AAAA"])) == ""
    assert key_of(Answer(resolver="a", status="NXDOMAIN", texts=[])) == ""
    assert key_of(Answer(resolver="a", status="NONE", texts=[])) is None


@given(said=st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=7), agree=st.integers(1, 7))
def test_what_is_settled_was_said_by_most_and_by_enough(said: list[bool | None], agree: int) -> None:
    good = [each for each in (True, False) if said.count(each) >= agree and 2 * said.count(each) > len(said)]
    if good:
        assert [settle(said, agree)] == good
    else:
        with pytest.raises(NoAgreement):
            settle(said, agree)


@settings_of_hypothesis(max_examples=50, deadline=None)
@given(st.text(max_size=40))
def test_a_name_is_none_or_stays_itself(text: str) -> None:
    name = name_of(text)
    assert name is None or (name.isascii() and name == name.lower() == name_of(name) and ".." not in name)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("9.9.9.9", ("9.9.9.9", 53)),
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("2620:fe::fe", ("2620:fe::fe", 53)),
        ("[::1]:5353", ("::1", 5353)),
        *((bad, None) for bad in ("dns.test", "1.2.3", "127.0.0.1:0", "127.0.0.1:99999", "https://9.9.9.9", "")),
    ],
)
def test_a_resolver_is_an_address_with_or_without_its_port(text: str, good: Any) -> None:
    if good:
        assert place(text) == good
    else:
        with pytest.raises(ValueError, match=r"resolver|port"):
            place(text)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"agree": 1}, "more than half"),
        ({"agree": 4}, "no more than all"),
        ({"resolvers": ["9.9.9.9", "9.9.9.9:53", "1.1.1.1"]}, "one voice"),
        ({"resolvers": ["dns.test"], "agree": 1}, "IP address"),
        ({"trigger": "block"}, "requests no record"),
        ({"trigger": "block", "mode": "dkim"}, "needs selector and domain"),
        ({"agreee": 2}, "agreee"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Settings.model_validate(changed)


def test_a_body_says_a_record_or_a_selector() -> None:
    with pytest.raises(ValidationError, match="a record needs"):
        Body(domain="example.test", requestId=1)
    Body(domain="example.test", selector="s1")


async def test_a_rule_whose_trigger_is_another_is_told_so(servers: list[Names]) -> None:
    with pytest.raises(ValueError, match='write trigger = "block"'):
        await dns_registry.execute(context(settings_of(servers)))


async def test_the_operator_is_told_of_a_resolver_that_lies_or_fails(servers: list[Names]) -> None:
    servers[0].zones = zones("no")
    ctx = requested(settings_of(servers))
    log = Mock()
    await dns_registry.execute(replace(ctx, log=log))
    log.warning.assert_called_once_with("dns.disagrees", resolver=servers[0].resolver, status="NOERROR")
    servers[0].fails = {"_avs-challenge.example.test": "SERVFAIL"}
    log = SimpleNamespace(warning=Mock(), info=Mock())
    await dns_registry.execute(replace(ctx, log=log))  # type: ignore[arg-type]
    log.warning.assert_called_once_with("dns.no_answer", resolver=servers[0].resolver)
