"""
Whether an operator is there: in each epoch another one is asked, at the endpoint that it registered.

The operator answers JSON-RPC ``healthcheck [blockNumber]`` with the block's hash, signed (EIP-191, over its keccak256).
Endpoints are strangers' URLs: they are asked behind the guard of ``listener.fetch``.
"""

import asyncio
import re
from typing import Any

from eth_abi.abi import decode, encode
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils.address import is_hex_address, to_checksum_address
from eth_utils.crypto import keccak
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from listener import (
    Claim,
    ClaimContext,
    FetchFailed,
    ProofRejected,
    TaskContext,
    TaskResult,
    Verdict,
    active_operators,
    fetch,
)

AVS_LOGIC = "0xb0817c44"  # avsLogic()
REGISTRATIONS = "0x942e6bcf"  # registrations(address) -> (uint256 operatorIndex, uint256 blockNumber, string endpoint)
LONGEST_ENDPOINT = 512  # bytes
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0  # of secp256k1: s is in the lower half
LOOK_AGAIN_S = 0.25
_HASH = re.compile(r"0x[0-9a-f]{64}")
_SIGNATURE = re.compile(r"0x[0-9a-f]{128}(1b|1c)")


class Wrong(Exception):
    """What a claim is rejected for."""


class Unknown(Exception):
    """Why a claim cannot be judged now."""


class Settings(BaseModel):
    """What the rule may change."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    attestation_center: str = Field(pattern=r"^0x[0-9a-fA-F]{40}$")
    registry: str | None = Field(default=None, pattern=r"^0x[0-9a-fA-F]{40}$")  # None: what avsLogic() names
    allow_private: bool = False  # whether endpoints in one's own network are asked, for tests
    timeout_s: float = Field(default=5, gt=0, le=60)  # of one request
    tries: int = Field(default=3, ge=1, le=10)  # before an operator is said to be away
    pause_s: float = Field(default=1, ge=0, le=60)  # between them
    window: int = Field(default=10, ge=1)  # blocks after its own in which a claim is judged


class Operator(BaseModel):
    """Who was chosen."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    operatorAddress: str  # noqa: N815 - as JSON has it
    endpoint: str


class Response(BaseModel):
    """What an operator answered; only what is right is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    blockHash: str  # noqa: N815
    signature: str
    address: str


class Proof(BaseModel):
    """What is stored."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    blockHash: str = Field(pattern=r"^0x[0-9a-f]{64}$")  # noqa: N815
    chosenOperator: Operator  # noqa: N815
    response: Response | None
    isValid: bool  # noqa: N815


async def execute(ctx: TaskContext[Settings]) -> TaskResult | None:
    """
    Ask the epoch's operator; ``data`` is ``abi.encode(address operator, bool isValid)``.

    None where there is no operator, or the one whose turn it is has registered no endpoint.
    """
    operator = await _chosen(ctx)
    if operator is None:
        return None
    block_hash = f"0x{bytes(ctx.trigger.block_hash).hex()}"
    response = await _ask(operator, ctx.trigger.block_number, block_hash, ctx.settings)
    proof = Proof(blockHash=block_hash, chosenOperator=operator, response=response, isValid=response is not None)
    ctx.log.info("operator.checked", operator=operator.operatorAddress, is_valid=proof.isValid)
    return TaskResult(await ctx.proofs.put(proof.model_dump()), _data(proof))


async def validate(ctx: ClaimContext[Settings], claim: Claim) -> Verdict:
    """Choose the operator again, check what it signed, and ask it again where it is said to be away."""
    try:
        await _check(ctx, claim)
    except (ProofRejected, Wrong) as error:
        return Verdict.reject(str(error))
    except (FetchFailed, Unknown) as error:
        return Verdict.unsure(str(error))
    return Verdict.approve()


async def _check(ctx: ClaimContext[Settings], claim: Claim) -> None:
    proof = await _read(ctx, claim)
    number = await _number_of(ctx, proof.blockHash)
    operator = await _chosen(await _retraced(ctx, number, proof.blockHash))
    if operator is None or operator != proof.chosenOperator:
        raise Wrong(f"another operator is chosen at block {number}, or another endpoint is registered")
    if proof.response is not None:
        if not _is_signed(proof.response, operator.operatorAddress, proof.blockHash):
            raise Wrong("the response is not signed by the operator")
    elif await _ask(operator, number, proof.blockHash, ctx.settings, shared=True) is not None:
        raise Wrong("the operator answers")


async def _read(ctx: ClaimContext[Settings], claim: Claim) -> Proof:
    """Read a claim's proof, and check what needs nothing else."""
    try:
        proof = Proof.model_validate(await ctx.proofs.get(claim.proof_of_task))
    except ValidationError as error:
        where = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
        raise Wrong(f"the proof's {where or 'form'} is not as it should be") from None
    if claim.data != _data(proof) or proof.isValid is (proof.response is None):
        raise Wrong("the data and the response are not what isValid says")
    return proof


async def _retraced(ctx: ClaimContext[Settings], number: int, block_hash: str) -> TaskContext[Settings]:
    """Find the epoch of a claim again; it must be young, for what an operator answers later says nothing."""
    behind = await ctx.w3.eth.block_number - number
    if behind > ctx.settings.window:
        raise Wrong(f"block {number} is {behind} blocks old; window is {ctx.settings.window}")
    again = await ctx.retrace(number)
    if again is None or f"0x{bytes(again.trigger.block_hash).hex()}" != block_hash:
        raise Wrong(f"the rule has no task at block {number} with the hash {block_hash}")
    return again


async def _number_of(ctx: ClaimContext[Settings], block_hash: str) -> int:
    """Give the number of a block that may be on its way to our node still."""
    from web3.exceptions import BlockNotFound  # noqa: PLC0415 - web3 takes a second

    ends_at = asyncio.get_running_loop().time() + ctx.patience_s
    while True:
        try:
            return int((await ctx.w3.eth.get_block(block_hash))["number"])  # type: ignore[arg-type]
        except BlockNotFound:
            if asyncio.get_running_loop().time() >= ends_at:
                raise Unknown(f"our chain does not know block {block_hash}") from None
        await asyncio.sleep(LOOK_AGAIN_S)


async def _chosen(ctx: TaskContext[Settings]) -> Operator | None:
    """
    Choose among the active operators by ascending id: the epoch's number counts round them.

    Not the block's number, as in the example: of numbers that ten divides, ten operators would ever see but one.
    """
    if ctx.trigger.epoch is None:
        raise ValueError("tasks.health_check counts epochs; give its rule a trigger of type epoch")
    settings, w3 = ctx.settings, ctx.w3
    operators = await active_operators(w3, settings.attestation_center, bytes(ctx.trigger.block_hash))
    if not operators:
        return None
    address = operators[ctx.trigger.epoch % len(operators)]
    registry = settings.registry
    if registry is None:
        (registry,) = decode(["address"], await _view(w3, settings.attestation_center, AVS_LOGIC))
    index, _, endpoint = decode(
        ["uint256", "uint256", "bytes"], await _view(w3, registry, f"{REGISTRATIONS}{int(address, 16):064x}")
    )
    return None if index == 0 and not endpoint else Operator(operatorAddress=address, endpoint=_readable(endpoint))


async def _view(w3: Any, address: str, data: str) -> bytes:
    return bytes(await w3.eth.call({"to": to_checksum_address(address), "data": data}))


def _readable(endpoint: bytes) -> str:
    """Give an endpoint as text; what can be none is empty, so that nobody can blow up our proofs."""
    text = endpoint.decode("ascii", errors="ignore")
    return text if len(text) == len(endpoint) <= LONGEST_ENDPOINT and text.isprintable() else ""


async def _ask(
    operator: Operator, block_number: int, block_hash: str, settings: Settings, *, shared: bool = False
) -> Response | None:
    """
    Ask an operator until it gives the right answer; None where it never does.

    Raises:
        FetchFailed: our own network is away, which says nothing of the operator.
    """
    failed: FetchFailed | None = None
    for attempt in range(settings.tries):
        if attempt:
            await asyncio.sleep(settings.pause_s)
        try:
            reply = await fetch(
                operator.endpoint,
                json={"jsonrpc": "2.0", "id": 1, "method": "healthcheck", "params": [block_number]},
                allow_private=settings.allow_private,
                timeout_s=settings.timeout_s,
                max_bytes=16_384,
                shared_s=settings.pause_s * 0.9 if shared else 0,  # a try is one request, however many claims there are
            )
            failed = None
            answer = reply.json()
            response = Response.model_validate(_named(answer))
        except FetchFailed as error:
            failed = error if error.is_ours else None
        except ValidationError:
            continue
        else:
            if reply.status == 200 and _is_signed(response, operator.operatorAddress, block_hash):
                return response
    if failed is not None:
        raise failed
    return None


def _named(answer: Any) -> dict[str, Any]:
    """Take the fields that count from a JSON-RPC answer, in the one form in which they are compared."""
    result = answer.get("result") if isinstance(answer, dict) else None
    if not isinstance(result, dict):
        return {}
    lower = {key: result[key].lower() for key in ("blockHash", "signature") if isinstance(result.get(key), str)}
    address = result.get("address")
    return {**lower, "address": to_checksum_address(address) if is_hex_address(address) else address}


def _is_signed(response: Response, operator: str, block_hash: str) -> bool:
    """Tell whether a response is the operator's: EIP-191 over keccak256 of the block's hash, low s, one spelling."""
    if response.address != operator or response.blockHash != block_hash:
        return False
    if _SIGNATURE.fullmatch(response.signature) is None or int(response.signature[66:130], 16) > HALF_ORDER:
        return False
    try:
        signer = Account.recover_message(encode_defunct(keccak(hexstr=block_hash)), signature=response.signature)
    except Exception:  # noqa: BLE001 - eth-account raises many kinds for what is on no curve
        return False
    return bool(signer == operator)


def _data(proof: Proof) -> bytes:
    try:
        return encode(["address", "bool"], [proof.chosenOperator.operatorAddress, proof.isValid])
    except Exception:  # noqa: BLE001 - eth-abi raises many kinds for what is no address
        return b""  # which no claim of ours has
