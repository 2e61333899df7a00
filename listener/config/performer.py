"""``[performer]``: the key that signs."""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, SecretStr, ValidationInfo, model_validator

from listener.config.address import Address
from listener.config.secret import secret
from listener.config.surroundings import Surroundings
from listener.rules.table import Table

_KEY = re.compile(r"(?:0[xX])?([0-9a-fA-F]{64})")
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # of secp256k1


def _key(value: Any, info: ValidationInfo) -> Any:
    """Give the key as 0x and 64 digits, however it was written; no message holds any of it."""
    text = secret(value, Surroundings.of(info))
    if text is None:
        return None
    digits = _KEY.fullmatch(text.strip()) if isinstance(text, str) else None
    if digits is None or not 0 < int(digits[1], 16) < _ORDER:
        raise ValueError("not a private key; it is 64 hex digits, with or without 0x")
    return f"0x{digits[1].lower()}"


def _signature(value: Any) -> Any:
    if value == "bls":
        raise ValueError('"bls": not available yet')
    return value


class Performer(Table):
    """Us."""

    not_yet: ClassVar[frozenset[str]] = frozenset({"keystore", "password_file"})

    key: Annotated[SecretStr | None, BeforeValidator(_key)] = None  # None: not there, and nobody asked for it
    address: Address | None = None  # given, it must be the signer's
    signature: Annotated[Literal["ecdsa"], BeforeValidator(_signature)] = "ecdsa"

    @model_validator(mode="after")
    def _has_key(self, info: ValidationInfo) -> "Performer":
        if self.key is None and Surroundings.of(info).require_key:
            raise ValueError('key is missing; write key = { env = "PERFORMER_KEY" } or export PRIVATE_KEY_PERFORMER')
        return self
