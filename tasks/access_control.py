"""
Tells a contract who may come in: whether a user meets a requirement, or who has a role.

Mode ``requirement`` answers a user: a protocol contract lists what counts, the named entry is evaluated with the user's
address, and only where it holds there is something to sign. Mode ``roles`` publishes the Merkle root of a role's
members. Both read one block, which the proof names, so that an attester reads the very same.
"""

import asyncio
import time
from typing import Annotated, Any, Literal

from eth_abi.abi import encode
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError, model_validator

from listener import Claim, ClaimContext, NotPossible, ProofRejected, TaskContext, TaskResult, Verdict
from tasks.access_reading import Address, At, Role, Unfit, block_at, head_number, number_of
from tasks.access_requirement import evaluated
from tasks.access_roles import RoleAt, merkle_root

AGAIN_S = 0.25  # between looks at a chain that has not come so far

Text = Annotated[StrictStr, Field(max_length=1000)]


class Body(BaseModel):
    """A user and the requirement that he says he meets, named as the list has it. An ABI beside it is not looked at."""

    model_config = ConfigDict(frozen=True)

    user: Address = Field(alias="userAddress")
    chain_id: Text = Field(alias="chainId")
    contract: Address = Field(alias="contractAddress")
    method: Text
    params: Annotated[tuple[Text, ...], Field(max_length=16)]
    requirement: Annotated[tuple[Text, ...], Field(min_length=2, max_length=2)]


class Settings(BaseModel):
    """What a rule's ``settings`` say."""

    mode: Literal["requirement", "roles"]
    contract: Address  # of the protocol, with getWhitelistMethods; or the one with the roles
    max_age_blocks: int = Field(default=256, ge=1)  # of a request's or a schedule's block, when it is judged
    # of mode requirement
    chains: dict[str, int] = {}  # what the list calls a chain, where that is not its id in decimal
    ask: Body | None = None  # for a rule without requests: what it asks at each block or time
    # of mode roles
    role: Role | None = None
    from_block: int | None = Field(default=None, ge=0)  # replay events since then; None: the contract lists members
    range_blocks: int = Field(default=2000, ge=1)  # of one question for events
    max_members: int = Field(default=10_000, ge=1)

    @model_validator(mode="after")
    def _fits_its_mode(self) -> "Settings":
        of_roles = {"role", "from_block", "range_blocks", "max_members"}
        foreign = of_roles if self.mode == "requirement" else {"chains", "ask"}
        given = sorted(foreign & self.model_fields_set)
        if given:
            raise ValueError(f'{", ".join(given)}: not of mode = "{self.mode}"; leave it out')
        if self.mode == "roles" and self.role is None:
            raise ValueError('role is missing; write role = "MINTER_ROLE", or its 32 bytes as 0x…')
        return self


class _Named(BaseModel):
    """What is taken from a proof; all else in it is found again."""

    task: Annotated[StrictStr, Field(pattern="^[0-9a-f]{32}$")]
    block_number: Annotated[StrictInt, Field(alias="blockNumber", ge=0, lt=2**63)]
    block_hash: Annotated[StrictStr, Field(alias="blockHash", pattern="^0x[0-9a-f]{64}$")]


async def execute(ctx: TaskContext[Settings]) -> TaskResult | None:
    """
    Evaluate at the trigger's block.

    Data is ``abi.encode(address user)``, and there is none where the requirement is not met; or
    ``abi.encode(bytes32 role, bytes32 root, uint64 blockNumber)``.
    """
    trigger, settings = ctx.trigger, ctx.settings
    if trigger.event is not None or (trigger.body is not None and settings.mode == "roles"):
        raise ValueError(f"mode {settings.mode} answers no such trigger; docs/tasks/access_control.md says which")
    if trigger.body is not None and settings.ask is not None:
        raise ValueError("a rule that answers requests has no settings.ask; leave it out")
    # By its number: where no block made the task, the block of that moment may have been replaced since.
    at = await block_at(ctx, trigger.block_number)
    if at is None:
        raise ValueError(f"there is no block {trigger.block_number}; the endpoint may be behind")
    return await _answer(ctx, at, ctx.key, trigger.body or settings.ask)


async def validate(ctx: ClaimContext[Settings], claim: Claim) -> Verdict:
    """Evaluate again at the block that the proof names, as the chain has it now, and compare every byte."""
    try:
        named, asked = await _read(ctx, claim)
        at = await _awaited(ctx, named)
        await _check_due(ctx, named)
        again = await _answer(ctx, at, named.task, asked)
    except (ProofRejected, Unfit) as error:
        return Verdict.reject(str(error))
    if again is None:
        return Verdict.reject("the requirement is not met at that block")
    if again != TaskResult(claim.proof_of_task, claim.data):
        return Verdict.reject("evaluated again at that block, the proof or the data is another")
    return Verdict.approve()


async def _read(ctx: ClaimContext[Settings], claim: Claim) -> tuple[_Named, Body | None]:
    """Read which task a proof is of, and whom and what it names."""
    proof = await ctx.proofs.get(claim.proof_of_task)
    settings = ctx.settings
    try:
        named = _Named.model_validate(proof)
        asked = Body.model_validate(proof) if settings.mode == "requirement" else None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise Unfit(f"the proof is not one of this task: {place}: {first['msg']}") from error
    if settings.ask is not None and asked != settings.ask:
        raise Unfit("the proof is of another user or requirement than the rule asks for")
    return named, asked


async def _answer(ctx: TaskContext[Settings], at: At, task: str, asked: Body | None) -> TaskResult | None:
    settings = ctx.settings
    proof: dict[str, Any] = {
        "mode": settings.mode,
        "task": task,  # tells two requests of one block apart
        "blockNumber": at.number,
        "blockHash": f"0x{at.hash.hex()}",
        "timestamp": at.timestamp,
    }
    if settings.role is not None:
        reading = RoleAt(ctx, at, settings.contract, settings.role)
        if settings.from_block is None:
            members = await reading.listed(settings.max_members)
        else:
            members = await reading.replayed(settings.from_block, settings.range_blocks, settings.max_members)
        root = merkle_root(members)
        proof |= {
            "chainId": str(ctx.trigger.chain_id),
            "contractAddress": settings.contract,
            "role": f"0x{settings.role.hex()}",
            "members": members,
            "root": f"0x{root.hex()}",
        }
        data = encode(["bytes32", "bytes32", "uint64"], [settings.role, root, at.number])
        return TaskResult(await ctx.proofs.put(proof), data)
    if asked is None:
        raise ValueError("nobody is named: give the rule a trigger of type http, or settings.ask")
    found = await evaluated(ctx, at, settings.contract, settings.chains, asked)
    if found is None:
        return None
    return TaskResult(await ctx.proofs.put(proof | found), encode(["address"], [asked.user]))


async def _check_due(ctx: ClaimContext[Settings], named: _Named) -> None:
    """Make sure that the rule may have such a task at the block."""
    try:
        again = await ctx.retrace(named.block_number)
    except NotPossible:  # a request or a schedule: its block is the newest that the performer had walked
        age = await head_number(ctx) - named.block_number
        most = ctx.settings.max_age_blocks
        if age > most:
            raise Unfit(f"block {named.block_number} is {age} blocks old, more than {most}") from None
        return
    if again is None:
        raise Unfit(f"the rule has no task at block {named.block_number}")
    if again.key != named.task:
        raise Unfit(f"the task of block {named.block_number} has another key")


async def _awaited(ctx: ClaimContext[Settings], named: _Named) -> At:
    """Find the block again; wait a moment for one that the performer had, and this chain's endpoints not yet."""
    number, ends_at = named.block_number, time.monotonic() + ctx.patience_s
    at = await block_at(ctx, number)
    while at is None:
        if await number_of(ctx, named.block_hash) not in {None, number}:
            raise Unfit(f"the block with the hash that the proof says is not block {number}")
        if time.monotonic() >= ends_at:
            raise ValueError(f"there is no block {number} yet")
        await asyncio.sleep(AGAIN_S)
        at = await block_at(ctx, number)
    if f"0x{at.hash.hex()}" != named.block_hash:
        raise Unfit(f"block {number} has another hash than the proof says")
    return at
