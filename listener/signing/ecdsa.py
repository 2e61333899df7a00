"""
The performer's ECDSA signature.

secp256k1 over the 32-byte digest itself (no EIP-191 prefix), deterministic (RFC 6979), low s, serialised r ‖ s ‖ v
with v 27 or 28: what OpenZeppelin's ECDSA in the contract accepts, and nothing else.
"""

import coincurve
from eth_account import Account

from listener.errors import ConfigError
from listener.model import Payload, TaskResult
from listener.signing.digest import digest_of


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
        try:
            account = Account.from_key(key.strip())
        except Exception:  # noqa: BLE001 - eth-account raises many kinds, and their texts may hold the key
            raise ConfigError("performer.key: not a private key; it is 32 bytes in hex, with or without 0x") from None
        # One reused key of the C library: signing through eth-account takes six times as long.
        self._key = coincurve.PrivateKey(bytes(account.key))
        self.address: str = account.address
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

    def __repr__(self) -> str:
        return f"Signer({self.address})"
