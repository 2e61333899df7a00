"""From a task's result to a signed payload, exactly as the attestation contract checks it. Pure functions."""

from listener.signing.digest import digest_of, encoded
from listener.signing.ecdsa import Signer

__all__ = ["Signer", "digest_of", "encoded"]
