"""
How ``tasks.access_control`` reads a chain: plain JSON-RPC through the context's web3, pinned to one block.

web3's own contract calls say of a revert and of a node in trouble almost the same; an attester has to tell them apart.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from eth_abi.abi import encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from pydantic import BeforeValidator

from listener import TaskContext

REVERTED = 3  # JSON-RPC's code for it; older nodes say it in words only
AT_ONCE = 16  # calls of a list


class Unfit(ValueError):
    """What is claimed cannot hold at that block, whoever looks: a validator rejects it."""


class Reverted(Exception):
    """The contract has no such method, or refuses."""


class NodeTrouble(Exception):
    """A node answered with an error: it may pass, and says nothing of the claim."""


@dataclass(frozen=True, slots=True)
class At:
    """The block that is read."""

    number: int
    hash: bytes
    timestamp: int  # Unix seconds


def _address(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch("0x[0-9a-fA-F]{40}", value):
        raise ValueError("should be an address: 0x and 40 hex digits")
    checksummed = to_checksum_address(value)
    if value not in {checksummed, value.lower(), f"0x{value[2:].upper()}"}:
        raise ValueError("should be an address with a right checksum, or in one case")
    return checksummed


def _role(value: Any) -> bytes:
    """Read a role: its 32 bytes, or its name as the contract's constant is called."""
    if isinstance(value, str) and re.fullmatch(r"0x[0-9a-fA-F]{64}", value):
        return bytes.fromhex(value[2:])
    if isinstance(value, str) and re.fullmatch(r"[A-Z][A-Z0-9_]*", value):
        return bytes(32) if value == "DEFAULT_ADMIN_ROLE" else keccak(text=value)
    raise ValueError("should be a role's name in capitals, such as MINTER_ROLE, or its 32 bytes as 0x…")


Address = Annotated[str, BeforeValidator(_address)]  # checksummed
Role = Annotated[bytes, BeforeValidator(_role)]


async def ask(ctx: TaskContext[Any], block: int | bytes | str, method: str, *params: Any) -> Any:
    """
    Make one call; it is read at ``block`` where the method takes one.

    Raises:
        Reverted: a contract's answer is a revert.
        NodeTrouble: the node answered with another error.
    """
    answer = await ctx.at(block).provider.make_request(method, list(params))
    error = answer.get("error")
    if error is None:
        return answer["result"]
    if method == "eth_call" and (error["code"] == REVERTED or "revert" in error["message"].lower()):
        raise Reverted(error["message"])
    raise NodeTrouble(f"{method}: {error['message']}")


async def call(ctx: TaskContext[Any], at: At, contract: str, signature: str, *arguments: Any) -> bytes:
    """Call ``name(type,…)`` of a contract at a block; return the raw answer, empty where there is no contract."""
    types = [each for each in signature[signature.index("(") + 1 : -1].split(",") if each]
    data = keccak(text=signature)[:4] + encode(types, arguments)
    answer = await ask(ctx, at.hash, "eth_call", {"to": contract, "data": f"0x{data.hex()}"})
    return bytes.fromhex(answer[2:])


async def word(ctx: TaskContext[Any], at: At, contract: str, signature: str, *arguments: Any) -> int:
    """Call what answers one word, and read it as an integer."""
    answer = await call(ctx, at, contract, signature, *arguments)
    if len(answer) != 32:
        raise ValueError(f"{signature} of {contract} answered {len(answer)} bytes, not one word; is it that contract?")
    return int.from_bytes(answer)


async def block_at(ctx: TaskContext[Any], number: int) -> At | None:
    """Read a block of the canonical chain as it is now; None where it has not come so far."""
    # Not web3's get_block: it refuses the headers of chains with proof of authority.
    header = await ask(ctx, "latest", "eth_getBlockByNumber", hex(number), False)  # noqa: FBT003 - JSON-RPC
    if header is None:
        return None
    return At(int(header["number"], 16), bytes.fromhex(header["hash"][2:]), int(header["timestamp"], 16))


async def number_of(ctx: TaskContext[Any], block_hash: str) -> int | None:
    """Return the number of a block, canonical or not, by its hash; None where it is not known."""
    header = await ask(ctx, "latest", "eth_getBlockByHash", block_hash, False)  # noqa: FBT003 - JSON-RPC
    return None if header is None else int(header["number"], 16)


async def head_number(ctx: TaskContext[Any]) -> int:
    """Return the newest block's number."""
    return int(await ask(ctx, "latest", "eth_blockNumber"), 16)
