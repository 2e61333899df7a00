"""
DNS for contracts: whether a requester controls a domain (mode ``record``), or a domain's DKIM key (mode ``dkim``).

What is signed is what most of several resolvers say (``dns_resolvers.py``), and an attester asks its own.
"""

import base64
import binascii
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import idna
from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from listener import Claim, ClaimContext, ProofRejected, TaskContext, TaskResult, Verdict
from tasks.dns_resolvers import Answer, NoAgreement, ask, place, settle

LONGEST_NAME = 253  # characters of a whole name, RFC 1035 section 2.3.4 without the root
LONGEST_VALUE = 4096  # characters
TYPES = ("A", "AAAA", "CAA", "CNAME", "MX", "NS", "SRV", "TXT")
RECORD_DATA = ("uint256", "string", "string", "string", "bool")
DKIM_DATA = ("string", "string", "bytes32", "uint64")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_DKIM_PROOF = re.compile(r"(0x[0-9a-f]{64})\+([0-9]{1,18})\+(0x[0-9a-f]{64})(?:\+([0-9]{1,9}))?")


class Wrong(Exception):
    """What a claim is rejected for."""


class Strict(BaseModel):
    """A table without unknown keys that is not changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Settings(Strict):
    """What the rule may change."""

    mode: Literal["record", "dkim"] = "record"
    trigger: Literal["event", "http", "block"] = "event"  # of the rule: where the question comes from
    resolvers: tuple[str, ...] = Field(default=("1.1.1.1", "8.8.8.8", "9.9.9.9"), min_length=1, max_length=15)
    agree: int = Field(default=2, ge=1)  # how many must say the same; more than half
    challenge: str = Field(default="_avs-challenge", pattern=r"^_[a-z0-9-]{1,62}$")  # label before the domain
    selector: str = ""  # dkim: where event or body name none
    domain: str = ""  # dkim: the same
    block_age_s: int = Field(default=3600, ge=1)  # dkim: today's key is not that of an older block
    timeout_s: float = Field(default=5, gt=0, le=60)  # seconds, of one resolver, with its repetitions

    @field_validator("resolvers")
    @classmethod
    def _places(cls, resolvers: tuple[str, ...]) -> tuple[str, ...]:
        if len({place(each) for each in resolvers}) != len(resolvers):
            raise ValueError("a resolver stands twice: each has one voice")
        return resolvers

    @model_validator(mode="after")
    def _majority(self) -> Self:
        count = len(self.resolvers)
        if not count / 2 < self.agree <= count:
            raise ValueError(
                f"agree = {self.agree} is not more than half of the {count} resolvers, and no more than all"
            )
        if self.mode == "record" and self.trigger == "block":
            raise ValueError('a block requests no record: trigger = "block" goes with mode = "dkim"')
        if self.trigger == "block" and not (name_of(self.domain) and self.selector):
            raise ValueError('trigger = "block" needs selector and domain')
        return self


class Body(Strict):
    """What a request by HTTP says: a record's four, or the selector of a DKIM key."""

    domain: str = Field(max_length=LONGEST_NAME)
    requestId: int | None = Field(default=None, ge=0, lt=2**256)  # noqa: N815 - as JSON has it
    requester: str | None = Field(default=None, pattern=r"^0x[0-9a-fA-F]{40}$")
    recordType: str | None = None  # noqa: N815
    value: str | None = None
    selector: str | None = Field(default=None, max_length=LONGEST_NAME)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        record = (self.requestId, self.requester, self.recordType, self.value)
        if self.selector is None and None in record:
            raise ValueError("a record needs requestId, requester, recordType and value; a DKIM key its selector")
        return self


class Request(Strict):
    """A record that somebody wants registered; the domain is as DNS has it, in lower case and ASCII."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    requestId: int = Field(ge=0, lt=2**256)  # noqa: N815
    requester: str = Field(pattern=_ADDRESS.pattern)
    domain: str
    recordType: str  # noqa: N815
    value: str


class Proof(BaseModel):
    """What is stored."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    request: Request
    question: str
    expected: str
    answers: list[Answer] = Field(min_length=1, max_length=15)
    verified: bool
    blockNumber: int = Field(ge=0, lt=2**63)  # noqa: N815
    blockHash: str = Field(pattern=r"^0x[0-9a-f]{64}$")  # noqa: N815
    logIndex: int | None = Field(ge=0, lt=2**31)  # noqa: N815


async def execute(ctx: TaskContext[Settings]) -> TaskResult | None:
    """
    Answer the request, or give the key; None where DNS cannot have the name, or surely has no key there.

    ``data`` is ``abi.encode(uint256 requestId, string domain, string recordType, string value, bool verified)``, or
    ``abi.encode(string domain, string selector, bytes32 keyHash, uint64 blockNumber)``.
    """
    _check_trigger(ctx)
    return await (_record(ctx) if ctx.settings.mode == "record" else _dkim(ctx))


async def validate(ctx: ClaimContext[Settings], claim: Claim) -> Verdict:
    """Check the proof by itself, by its block and by the data, and only then by what our own resolvers say."""
    try:
        await (_check_record(ctx, claim) if ctx.settings.mode == "record" else _check_dkim(ctx, claim))
    except (ProofRejected, Wrong) as error:
        return Verdict.reject(str(error))
    except NoAgreement as error:
        return Verdict.unsure(str(error))
    return Verdict.approve()


async def _record(ctx: TaskContext[Settings]) -> TaskResult | None:
    request = _request(ctx)
    if request is None:
        ctx.log.warning("dns.no_name", domain=_asked(ctx).get("domain"))
        return None
    answers = await ask(f"{ctx.settings.challenge}.{request.domain}", ctx.settings.resolvers, ctx.settings.timeout_s)
    proof = prove(ctx, request, answers)
    _warn(ctx, answers, [expected(request, ctx.settings) in each.texts for each in answers], proof.verified)
    ctx.log.info("dns.record", domain=request.domain, verified=proof.verified)
    return TaskResult(await ctx.proofs.put(proof.model_dump()), _record_data(request, verified=proof.verified))


async def _check_record(ctx: ClaimContext[Settings], claim: Claim) -> None:
    settings = ctx.settings
    proof = await _read(ctx, claim.proof_of_task)
    request = await _claimed(ctx, proof)
    if request is None or request != proof.request:
        raise Wrong("the proof's request is not the one that was made")
    if proof.question != f"{settings.challenge}.{request.domain}" or proof.expected != expected(request, settings):
        raise Wrong("the proof's question is not the one of its request")
    try:
        verified = _verified(proof.answers, request, settings)
    except NoAgreement as error:
        raise Wrong(f"by the proof, {error}") from None
    if verified != proof.verified or claim.data != _record_data(request, verified=verified):
        raise Wrong("the data is not what the proof's answers say")
    own = _verified(await ask(proof.question, settings.resolvers, settings.timeout_s), request, settings)
    if own != verified:
        raise Wrong(f"by our own resolvers {request.domain} is {'' if own else 'not '}the requester's")


async def _read(ctx: ClaimContext[Settings], proof_of_task: str) -> Proof:
    found = await ctx.proofs.get(proof_of_task)
    try:
        proof = Proof.model_validate(found)
    except ValidationError as error:
        where = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
        raise Wrong(f"the proof's {where or 'form'} is not as it should be") from None
    if any(bool(each.texts) != (each.status == "NOERROR") for each in proof.answers):
        raise Wrong("the proof has texts of a resolver that gave none, or none of one that did")
    if await ctx.proofs.put(found) != proof_of_task:
        raise Wrong("the proof goes by another text than ours: one request could be settled twice")
    return proof


async def _claimed(ctx: ClaimContext[Settings], proof: Proof) -> Request | None:
    """Find the request that a proof is of."""
    if (ctx.settings.trigger == "http") != (proof.logIndex is None):
        raise Wrong("the proof's logIndex is not that of its request")
    if proof.logIndex is None:
        await _check_block(ctx, proof.blockNumber, proof.blockHash)
        return _checked(proof.request, ctx.settings)
    return _request(await _retraced(ctx, proof.blockNumber, proof.logIndex, proof.blockHash))


def prove(ctx: TaskContext[Settings], request: Request, answers: Sequence[Answer]) -> Proof:
    """
    Say what the answers mean for a request.

    Raises:
        NoAgreement: too few resolvers say the same.
    """
    trigger = ctx.trigger
    return Proof(
        request=request,
        question=f"{ctx.settings.challenge}.{request.domain}",
        expected=expected(request, ctx.settings),
        answers=list(answers),
        verified=_verified(answers, request, ctx.settings),
        blockNumber=trigger.block_number,
        blockHash=_hex(trigger.block_hash),
        logIndex=None if trigger.event is None else trigger.event.log_index,
    )


def expected(request: Request, settings: Settings) -> str:
    """
    Give the text by which the domain's owner says yes.

    An event comes from its requester. A request by HTTP may come from anybody, so that the text names the record too.
    """
    text = f"avs-requester={request.requester}"
    if settings.trigger == "http":
        record = encode(["uint256", "string", "string"], [request.requestId, request.recordType, request.value])
        text += f" record={_hex(keccak(record))}"
    return text


def _verified(answers: Sequence[Answer], request: Request, settings: Settings) -> bool:
    text = expected(request, settings)
    said = [None if each.status == "NONE" else text in each.texts for each in answers]
    return settle(said, settings.agree)


async def _dkim(ctx: TaskContext[Settings]) -> TaskResult | None:
    question = _key_question(ctx)
    if question is None:
        ctx.log.warning("dns.no_name", **_asked(ctx))
        return None
    _check_age(ctx)
    domain, selector = question
    answers = await ask(f"{selector}._domainkey.{domain}", ctx.settings.resolvers, ctx.settings.timeout_s)
    said = [key_of(each) for each in answers]
    key = settle(said, ctx.settings.agree)
    _warn(ctx, answers, said, key)
    if not key:
        ctx.log.warning("dns.no_key", domain=domain, selector=selector)
        return None
    trigger = ctx.trigger
    proof = f"{_hex(keccak(text=key))}+{trigger.block_number}+{_hex(trigger.block_hash)}"
    if trigger.event is not None:
        proof += f"+{trigger.event.log_index}"
    return TaskResult(proof, encode(DKIM_DATA, [domain, selector, keccak(text=key), trigger.block_number]))


async def _check_dkim(ctx: ClaimContext[Settings], claim: Claim) -> None:
    named = _DKIM_PROOF.fullmatch(claim.proof_of_task)
    if named is None or any(each is not None and str(int(each)) != each for each in (named[2], named[4])):
        raise Wrong("the proof is not 0xKEYHASH+BLOCK+0xBLOCKHASH, with +LOG_INDEX for an event")
    if (ctx.settings.trigger == "event") != (named[4] is not None):
        raise Wrong("the proof's log index is not that of its rule")
    number = int(named[2])
    if ctx.settings.trigger == "http":
        await _check_block(ctx, number, named[3])
        question = _question_in(claim.data)
    else:
        again = await _retraced(ctx, number, None if named[4] is None else int(named[4]), named[3])
        _check_age(again)
        question = _key_question(again)
    if question is None:
        raise Wrong("no name of a key was asked for")
    domain, selector = question
    if claim.data != encode(DKIM_DATA, [domain, selector, bytes.fromhex(named[1][2:]), number]):
        raise Wrong("the data is not what the proof says")
    answers = await ask(f"{selector}._domainkey.{domain}", ctx.settings.resolvers, ctx.settings.timeout_s)
    own = settle([key_of(each) for each in answers], ctx.settings.agree)
    if not own or _hex(keccak(text=own)) != named[1]:
        raise Wrong(f"our own resolvers have {'another' if own else 'no'} key for {selector} of {domain}")


def key_of(answer: Answer) -> str | None:
    """Give the base64 of the one DKIM key (RFC 6376 section 3.6.1); empty where there is surely none."""
    if answer.status == "NONE":
        return None
    keys = [key for key in map(_key_in, answer.texts) if key is not None]
    return keys[0] if len(keys) == 1 else ""  # which of several counts is undefined, section 3.6.2.2


def _key_in(text: str) -> str | None:
    tags: dict[str, str] = {}
    for index, part in enumerate(text.strip().removesuffix(";").split(";")):
        tag, equals, value = part.partition("=")
        if not equals or tag.strip() in tags or (tag.strip() == "v" and (index or value.strip() != "DKIM1")):
            return None
        tags[tag.strip()] = value
    key = "".join(tags.get("p", "").split())  # it may be folded, and was perhaps cut in chunks
    try:
        base64.b64decode(key.encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    return key or None  # an empty one was revoked


def name_of(domain: str) -> str | None:
    """
    Give a domain as DNS has it: lower case, ASCII (IDNA 2008 with the mapping of UTS 46), without the last dot.

    None where it can be none: one label, an IP address, a label too long or of other characters than letters, digits,
    ``-`` and ``_``.
    """
    if len(domain) > LONGEST_NAME + 1:
        return None
    try:
        name = domain.lower() if domain.isascii() else idna.encode(domain, uts46=True).decode()
        labels = name.removesuffix(".").split(".")
        for label in labels:
            if label.startswith("xn--"):
                idna.decode(label)
    except (idna.IDNAError, UnicodeError):
        return None
    good = len(labels) > 1 and not labels[-1].isdigit() and all(_LABEL.fullmatch(each) for each in labels)
    return ".".join(labels) if good else None


def _fits(name: str) -> bool:
    return len(name) <= LONGEST_NAME


def _asked(ctx: TaskContext[Settings]) -> Mapping[str, Any]:
    """Give what event, body or settings ask for, by name."""
    trigger = ctx.trigger
    given = trigger.event.args if trigger.event is not None else {}
    if isinstance(trigger.body, Body):
        given = trigger.body.model_dump(exclude_none=True)
    return given


def _request(ctx: TaskContext[Settings]) -> Request | None:
    """Read the record that is asked for; None where DNS can have no such thing."""
    given = _asked(ctx)
    if not {"requestId", "requester", "domain", "recordType", "value"} <= given.keys():
        raise ValueError("the trigger has no requestId, requester, domain, recordType and value")
    wanted = {name: given[name] for name in ("requestId", "domain", "recordType", "value")}
    return _checked(Request(requester=given["requester"].lower(), **wanted), ctx.settings)


def _checked(request: Request, settings: Settings) -> Request | None:
    """Give a request as DNS has it, or None."""
    domain = name_of(request.domain)
    if domain is None or not _fits(f"{settings.challenge}.{domain}"):
        return None
    if request.recordType.upper() not in TYPES or not 0 < len(request.value) <= LONGEST_VALUE:
        return None
    return request.model_copy(update={"domain": domain, "recordType": request.recordType.upper()})


def _key_question(ctx: TaskContext[Settings]) -> tuple[str, str] | None:
    given, settings = _asked(ctx), ctx.settings
    return _checked_key(str(given.get("domain", settings.domain)), str(given.get("selector", settings.selector)))


def _checked_key(domain: str, selector: str) -> tuple[str, str] | None:
    """Return domain and selector as DNS has them; a selector may have dots."""
    found, whole = name_of(domain), name_of(f"{selector}._domainkey.{domain}")
    if found is None or whole is None or not _fits(whole):
        return None
    return found, whole.removesuffix(f"._domainkey.{found}")


def _question_in(data: bytes) -> tuple[str, str] | None:
    """Read domain and selector from a claim's data."""
    try:
        domain, selector, _, _ = decode(DKIM_DATA, data)
    except (DecodingError, UnicodeError, OverflowError):
        raise Wrong("the data is not a domain, a selector, a hash and a block") from None
    return _checked_key(domain, selector)


async def _retraced(
    ctx: ClaimContext[Settings], number: int, log_index: int | None, block_hash: str
) -> TaskContext[Settings]:
    again = await ctx.retrace(number, log_index)
    if again is None or _hex(again.trigger.block_hash) != block_hash:
        raise Wrong(f"the rule has no such task at block {number} with the hash {block_hash}")
    return again


async def _check_block(ctx: ClaimContext[Settings], number: int, block_hash: str) -> None:
    """Make sure that a request by HTTP, which no chain knows, names a block of it."""
    from web3.exceptions import BlockNotFound  # noqa: PLC0415 - web3 takes a second

    try:
        block = await ctx.w3.eth.get_block(number)
    except BlockNotFound:
        raise NoAgreement(f"our chain does not know block {number}") from None
    if _hex(block["hash"]) != block_hash:
        raise Wrong(f"block {number} has another hash")
    if ctx.settings.mode == "dkim":
        _check_young(int(block["timestamp"]), ctx.settings)


def _check_age(ctx: TaskContext[Settings]) -> None:
    _check_young(ctx.trigger.block_timestamp, ctx.settings)


def _check_young(timestamp: int, settings: Settings) -> None:
    age_s = int(time.time()) - timestamp
    if age_s > settings.block_age_s:
        raise Wrong(
            f"the block is {age_s} s old, and a key of now is not its key; block_age_s is {settings.block_age_s}"
        )


def _check_trigger(ctx: TaskContext[Settings]) -> None:
    trigger = ctx.trigger
    actual = "event" if trigger.event is not None else "http" if isinstance(trigger.body, Body) else "block"
    if actual != ctx.settings.trigger:
        raise ValueError(f'the rule\'s trigger is of type {actual}: write trigger = "{actual}" in its settings')


def _warn(ctx: TaskContext[Settings], answers: Sequence[Answer], said: Sequence[Any], settled: Any) -> None:
    """Tell the operator of resolvers that say nothing, or something else than most."""
    for answer, each in zip(answers, said, strict=True):
        if answer.status == "NONE":
            ctx.log.warning("dns.no_answer", resolver=answer.resolver)
        elif each != settled:
            ctx.log.warning("dns.disagrees", resolver=answer.resolver, status=answer.status)


def _record_data(request: Request, *, verified: bool) -> bytes:
    return encode(RECORD_DATA, [request.requestId, request.domain, request.recordType, request.value, verified])


def _hex(value: bytes) -> str:
    return f"0x{bytes(value).hex()}"
