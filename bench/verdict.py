"""
What a client did, judged from outside: every intent of the chain answered once, with the right data and signature.

It recovers each signature with the local network's own check, which shares no code with either client.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from eth_abi.abi import decode, encode

from listener.devnet.accounts import PERFORMER
from listener.devnet.attestation import RpcError, check_signature, parse

INTENT = ("uint256", "uint256", "uint256", "address", "bytes")
ANSWER = ("uint256", "address", "bytes")


def faults(logs: Sequence[dict[str, Any]], calls: Sequence[Any]) -> dict[str, int]:
    """
    Count what is wrong; an empty answer is a valid run.

    Args:
        logs: the intents of the measured blocks, as the chain writes them.
        calls: the parameters of the ``sendTask`` calls that answer these blocks.
    """
    expected = {_proof(log): _data(log) for log in logs}
    found = Counter(params[0] for params in calls)
    counts = {
        "missing": sum(1 for proof in expected if proof not in found),
        "doubled": sum(count - 1 for count in found.values()),
        "unexpected": sum(1 for proof in found if proof not in expected),
        "wrong": sum(1 for params in calls if not _is_valid(params, expected.get(params[0]))),
    }
    return {name: count for name, count in counts.items() if count}


def block_of(params: Any) -> int:
    """Return the block that a ``sendTask`` answers: its proof begins with it."""
    return int(str(params[0]).split("+", 1)[0])


def _is_valid(params: Any, data: bytes | None) -> bool:
    try:
        call = parse(params, 0)
        check_signature(call)
    except RpcError:
        return False
    return call.performer == PERFORMER.address and data in {call.data, None}


def _proof(log: dict[str, Any]) -> str:
    return f"{int(log['blockNumber'], 16)}+{log['transactionHash']}+{int(log['logIndex'], 16)}"


def _data(log: dict[str, Any]) -> bytes:
    return encode(ANSWER, decode(INTENT, bytes.fromhex(log["data"][2:]))[2:])
