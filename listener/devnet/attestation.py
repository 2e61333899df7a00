"""
What the attestation contract checks in a ``sendTask``: parameters, digest and signature, in the contract's order.

Written on eth-abi and coincurve, apart from the daemon's own digest, so that neither can hide a fault of the other.
"""

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import coincurve
from eth_abi.registry import registry
from eth_hash.auto import keccak
from eth_utils.address import is_checksum_address, to_checksum_address

from listener.errors import ListenerError

INVALID_PARAMS = -32602
REVERTED = -32000  # the contract would revert, with the error that the message names
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # of the curve secp256k1
HEX = re.compile(r"0x(?:[0-9a-fA-F]{2})*")  # ethers' `bytes`: even length, and "0x" for nothing
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")

# Looked up once: half of an encoding is the look-up.
_encode = cast("Callable[[tuple[str, bytes, str, int]], bytes]", registry.get_encoder("(string,bytes,address,uint16)"))


class RpcError(ListenerError):
    """A request that is answered with a JSON-RPC error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Call:
    """One ``sendTask``, well formed."""

    proof_of_task: str
    data: bytes
    task_definition_id: int  # uint16
    performer: str  # checksummed
    signature: bytes
    digest: bytes  # 32 bytes, recomputed here
    received_at: float  # Unix seconds


def parse(params: Any, received_at: float) -> Call:
    """
    Read the positional parameters of ``sendTask``.

    Raises:
        RpcError: a parameter is missing, or has a type that the node would not take.
    """
    if not isinstance(params, list) or not 5 <= len(params) <= 7:
        raise RpcError(INVALID_PARAMS, "sendTask takes a list of 5, 6 or 7 parameters")
    proof, data, definition, performer, signature = params[:5]
    if not isinstance(proof, str):
        raise RpcError(INVALID_PARAMS, f"proofOfTask: a text is needed, not {proof!r}")
    if type(definition) is not int or not 0 <= definition <= 0xFFFF:  # a JSON boolean would pass isinstance
        raise RpcError(INVALID_PARAMS, f"taskDefinitionId: an integer from 0 to 65535 is needed, not {definition!r}")
    address = _address(performer) if isinstance(performer, str) else None
    if address is None:
        raise RpcError(INVALID_PARAMS, f"performerAddress: an address is needed, not {performer!r}")
    _check_optional(params[5:])
    raw = _bytes("data", data)
    digest = keccak(_encode((proof, raw, address, definition)))
    return Call(proof, raw, definition, address, _bytes("signature", signature), digest, received_at)


def check_signature(call: Call) -> None:
    """
    Recover the signer as the contract does: 65 bytes, low s, v 27 or 28, no prefix.

    Raises:
        RpcError: the contract would revert; the message starts with the name of its error.
    """
    signature = call.signature
    if len(signature) != 65:
        raise RpcError(REVERTED, f"ECDSAInvalidSignatureLength: {len(signature)} bytes instead of 65")
    if int.from_bytes(signature[32:64]) > ORDER // 2:
        raise RpcError(REVERTED, f"ECDSAInvalidSignatureS: 0x{signature[32:64].hex()} is in the upper half")
    if signature[64] not in {27, 28}:
        raise RpcError(REVERTED, f"ECDSAInvalidSignature: v is {signature[64]} instead of 27 or 28")
    try:
        key = coincurve.PublicKey.from_signature_and_message(
            signature[:64] + bytes((signature[64] - 27,)), call.digest, hasher=None
        )
    except ValueError as error:  # r or s is zero or beyond the order, or r is on no point
        raise RpcError(REVERTED, f"ECDSAInvalidSignature: {error}") from error
    signer = keccak(key.format(compressed=False)[1:])[12:]
    if signer != bytes.fromhex(call.performer[2:]):
        raise RpcError(REVERTED, f"InvalidPerformerSignature: signed by 0x{signer.hex()} instead of {call.performer}")


def _check_optional(rest: Sequence[Any]) -> None:
    if rest and rest[0] != "ecdsa":
        raise RpcError(INVALID_PARAMS, f'signatureType: this aggregator takes "ecdsa" only, not {rest[0]!r}')
    if len(rest) == 2 and (type(rest[1]) is not int or rest[1] < 1):
        raise RpcError(INVALID_PARAMS, f"targetChainId: a chain id is needed, not {rest[1]!r}")


def _bytes(name: str, value: Any) -> bytes:
    if not isinstance(value, str) or HEX.fullmatch(value) is None:
        raise RpcError(INVALID_PARAMS, f"{name}: 0x and an even number of hex digits are needed, not {value!r}")
    return bytes.fromhex(value[2:])


@functools.lru_cache(maxsize=1024)  # a performer repeats, and its checksum is a hash
def _address(text: str) -> str | None:
    """Return the checksummed form; None for no address, or one whose mixed case is not its checksum."""
    if ADDRESS.fullmatch(text) is None:
        return None
    digits = text[2:]
    if digits not in {digits.lower(), digits.upper()} and not is_checksum_address(text):
        return None
    return to_checksum_address(text)
