"""
Whether a user meets a requirement, for ``tasks.access_control``.

A requirement is an entry of the protocol contract's list. Its ``method`` is a signature, ``balanceOf(address)`` or
``scoreOf(address,uint256)(int256)``, and all that is called is built from it: what a requester says is compared with
the list, and used for nothing.
"""

import json
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_utils.crypto import keccak

from listener import TaskContext
from tasks.access_reading import At, Reverted, Unfit, ask, call

LIST = "getWhitelistMethods()"
# The list's texts are read as bytes: one entry that is no UTF-8 must not make the others unreadable.
LIST_TYPE = "(bytes,address,bytes,bytes[],bytes[])[]"
USER = "<UA>"  # stands for the user's address in params
COMPARISONS: Mapping[str, Callable[[int, int], bool]] = {
    "LT": operator.lt,
    "LTE": operator.le,
    "EQ": operator.eq,
    "GTE": operator.ge,
    "GT": operator.gt,
}

_SIGNATURE = re.compile(r"([A-Za-z_$][A-Za-z0-9_$]{0,200})\(([^()]*)\)(?:\(([^()]*)\))?")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,77})")
_HEX = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
_SIZED = re.compile(r"(uint|int|bytes)([1-9][0-9]{0,2})")


class Asked(Protocol):
    """A user, and an entry of the list."""

    @property
    def user(self) -> str: ...  # noqa: D102
    @property
    def chain_id(self) -> str: ...  # noqa: D102
    @property
    def contract(self) -> str: ...  # noqa: D102
    @property
    def method(self) -> str: ...  # noqa: D102
    @property
    def params(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def requirement(self) -> tuple[str, ...]: ...  # noqa: D102


async def evaluated(
    ctx: TaskContext[Any], at: At, protocol: str, chains: Mapping[str, int], asked: Asked
) -> dict[str, Any] | None:
    """
    Evaluate a requirement of the contract ``protocol`` at a block; ``chains`` are ids by what the list calls chains.

    Returns:
        What belongs into the proof; None where the requirement is not met.

    Raises:
        Unfit: it is not in the list, of another chain, or cannot be evaluated.
    """
    if not await _is_listed(ctx, at, protocol, asked):
        raise Unfit(f"the list of {protocol} has no such requirement at block {at.number}")
    chain_id = int(asked.chain_id) if re.fullmatch(r"[1-9][0-9]{0,18}", asked.chain_id) else chains.get(asked.chain_id)
    if chain_id != ctx.trigger.chain_id:
        raise Unfit(f"the requirement is of chain {asked.chain_id}, and this rule reads chain {ctx.trigger.chain_id}")
    name, types, answered = signature(asked.method)
    holds = comparison(asked.requirement)
    if len(types) != len(asked.params):
        raise Unfit(f"{asked.method} takes {len(types)} arguments, and the requirement has {len(asked.params)}")
    values = [argument(kind, text, asked.user) for kind, text in zip(types, asked.params, strict=True)]
    try:
        data = keccak(text=f"{name}({','.join(types)})")[:4] + encode(types, values)
    except EncodingError as error:
        raise Unfit(f"the arguments do not fit {asked.method}: {error}") from error
    value = await _value(ctx, at, asked, data, answered)
    if not holds(value):
        return None
    return {
        "protocol": protocol,
        "chainId": asked.chain_id,
        "contractAddress": asked.contract,
        "contractABI": _abi(name, types, answered),
        "method": asked.method,
        "params": list(asked.params),
        "userAddress": asked.user.lower(),
        "requirement": list(asked.requirement),
        "value": str(value),
    }


def signature(method: str) -> tuple[str, list[str], str]:
    """
    Read ``name(type,…)`` or ``name(type,…)(type)``.

    Returns:
        The name, its arguments' canonical types, and the type of its answer: uint256 where none is written.

    Raises:
        Unfit: it is none, or has types that a requirement cannot write or compare.
    """
    found = _SIGNATURE.fullmatch(method)
    if found is None:
        raise Unfit(f"the requirement's method {method!r:.80} is no signature such as balanceOf(address)")
    types = [_canonical(each.strip()) for each in found[2].split(",")] if found[2].strip() else []
    answered = "uint256" if found[3] is None else _canonical(found[3].strip())
    if answered != "bool" and not answered.startswith(("uint", "int")):
        raise Unfit(f"{method:.80} answers {answered}, which cannot be compared: an integer or a bool is needed")
    return found[1], types, answered


def comparison(requirement: tuple[str, ...]) -> Callable[[int], bool]:
    """
    Read a comparison and its bound; integers of any size are compared exactly.

    Raises:
        Unfit: it is none.
    """
    word, bound = requirement
    if word not in COMPARISONS or _INTEGER.fullmatch(bound) is None:
        wanted = f"one of {', '.join(COMPARISONS)} and an integer in decimal"
        raise Unfit(f"the requirement {word!r:.40} {bound!r:.90} is not {wanted}")
    compare, limit = COMPARISONS[word], int(bound)
    return lambda value: compare(value, limit)


def argument(kind: str, text: str, user: str) -> Any:
    """
    Read one of ``params`` as its type; ``<UA>`` is the user where an address is wanted.

    Raises:
        Unfit: the text does not say a value of that type.
    """
    if kind == "string":
        return text
    if kind == "address" and text == USER:
        return user
    if kind == "address" and re.fullmatch(r"0x[0-9a-fA-F]{40}", text):
        return text
    if kind == "bool" and text in {"true", "false"}:
        return text == "true"
    if kind.startswith(("uint", "int")) and _INTEGER.fullmatch(text):
        return int(text)
    if kind.startswith("bytes") and _HEX.fullmatch(text):
        value = bytes.fromhex(text[2:])
        if kind == "bytes" or len(value) == int(kind[5:]):  # eth-abi would fill up what is too short
            return value
    raise Unfit(f"the requirement's argument {text!r:.80} is no {kind}")


def _canonical(kind: str) -> str:
    if kind in {"address", "bool", "string", "bytes"}:
        return kind
    if kind in {"uint", "int"}:
        return f"{kind}256"
    sized = _SIZED.fullmatch(kind)
    if sized is not None:
        size = int(sized[2])
        if (sized[1] == "bytes" and size <= 32) or (sized[1] != "bytes" and size <= 256 and size % 8 == 0):
            return kind
    raise Unfit(f"the type {kind!r:.40} cannot stand in a requirement's method")


async def _is_listed(ctx: TaskContext[Any], at: At, protocol: str, asked: Asked) -> bool:
    answer = await call(ctx, at, protocol, LIST)
    try:
        (entries,) = decode([LIST_TYPE], answer)
    except DecodingError as error:
        raise ValueError(f"{LIST} of {protocol} answered no list; is it the protocol contract?") from error
    wanted = (
        asked.chain_id.encode(),
        asked.contract.lower(),
        asked.method.encode(),
        tuple(each.encode() for each in asked.params),
        tuple(each.encode() for each in asked.requirement),
    )
    return wanted in entries


async def _value(ctx: TaskContext[Any], at: At, asked: Asked, data: bytes, answered: str) -> int:
    contract, method = asked.contract, asked.method
    try:
        answer = await ask(ctx, at.hash, "eth_call", {"to": contract, "data": f"0x{data.hex()}"})
    except Reverted as error:
        raise Unfit(f"{method} of {contract} was reverted at block {at.number}") from error
    raw = bytes.fromhex(answer[2:])
    try:
        (value,) = decode([answered], raw)
    except DecodingError as error:
        raise Unfit(f"{method} of {contract} answered {len(raw)} bytes that are no {answered}") from error
    if len(raw) != 32:
        raise Unfit(f"{method} of {contract} answered {len(raw)} bytes that are no {answered}")
    return int(value)


def _abi(name: str, types: list[str], answered: str) -> str:
    """Write the ABI that was called, for readers that want one."""
    function = {
        "type": "function",
        "name": name,
        "inputs": [{"name": "", "type": each} for each in types],
        "outputs": [{"name": "", "type": answered}],
        "stateMutability": "view",
    }
    return json.dumps([function], separators=(",", ":"))
