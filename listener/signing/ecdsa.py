"""
The performer's ECDSA signature.

secp256k1 over the 32-byte digest itself (no EIP-191 prefix), deterministic (RFC 6979), low s, serialised r ‖ s ‖ v
with v 27 or 28: what OpenZeppelin's ECDSA in the contract accepts, and nothing else.
"""

import re

import coincurve
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from listener.errors import ConfigError
from listener.model import Payload, TaskResult
from listener.signing.digest import digest_of

_KEY = re.compile(r"(?:0[xX])?([0-9a-fA-F]{64})")


class Signer:
    """
    Signs results with one key. Its text never shows the key.

    Args:
        key: a private key, 32 bytes in hex with or without 0x.
        expected: the performer's address where the configuration names one.

    Raises:
        ConfigError: it is not a private key, or belongs to another address.
    """

    def __init__(self, key: str, expected: str | None = None) -> None:
        # The C library itself: signing through eth-account takes six times as long, and importing it half a second.
        self._key = _read(key)
        point = self._key.public_key.format(compressed=False)[1:]  # without the byte that says how it is written
        self.address: str = to_checksum_address(keccak(point)[-20:])
        if expected is not None and expected.lower() != self.address.lower():
            raise ConfigError(
                f"performer.address: {expected} is not the key's address {self.address}; "
                'with signature = "ecdsa" the performer must be the signer'
            )

    def sign(self, result: TaskResult, task_definition_id: int) -> Payload:
        """
        Make a result ready to be sent.

        Raises:
            ValueError: ``task_definition_id`` is outside uint16, or the proof is not text that UTF-8 can write.
        """
        digest = digest_of(result.proof_of_task, result.data, self.address, task_definition_id)
        raw = self._key.sign_recoverable(digest, hasher=None)
        return Payload(
            proof_of_task=result.proof_of_task,
            data=result.data,
            task_definition_id=task_definition_id,
            performer=self.address,
            digest=digest,
            signature=raw[:64] + bytes((27 + raw[64],)),
        )

    def sign_block_hash(self, block_hash: bytes) -> bytes:
        """
        Sign a block's hash for a health check: EIP-191 over the keccak256 of its 32 bytes, in 65 bytes.

        The prefix keeps it apart from all that is signed otherwise: no task's digest and no transaction begins so.

        Raises:
            ValueError: it is no hash.
        """
        if len(block_hash) != 32:
            raise ValueError(f"a block's hash has 32 bytes, not {len(block_hash)}")
        raw = self._key.sign_recoverable(keccak(b"\x19Ethereum Signed Message:\n32" + keccak(block_hash)), hasher=None)
        return raw[:64] + bytes((27 + raw[64],))

    def __repr__(self) -> str:
        return f"Signer({self.address})"


def _read(key: str) -> coincurve.PrivateKey:
    digits = _KEY.fullmatch(key.strip())
    try:
        return coincurve.PrivateKey(bytes.fromhex(digits[1] if digits else ""))
    except ValueError:  # of no length, zero, or not below the order of the curve; its text may hold the key
        raise ConfigError("performer.key: not a private key; it is 32 bytes in hex, with or without 0x") from None
