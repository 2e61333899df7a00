"""Bytes as text in the bases in which CIDs are written (multibase, and base58 of CIDv0)."""

import base64
import binascii

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"  # Bitcoin's alphabet
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


def from_digits(text: str, alphabet: str) -> bytes:
    """
    Read a text as one large number, each leading zero digit as a zero byte. Long texts take long: cut them before.

    Raises:
        ValueError: a character is none of the alphabet's.
    """
    number = 0
    for character in text:
        number = number * len(alphabet) + alphabet.index(character)
    zeros = len(text) - len(text.lstrip(alphabet[0]))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")


def to_base58(value: bytes) -> str:
    """Write bytes in base58."""
    number, digits = int.from_bytes(value, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = BASE58[digit] + digits
    return BASE58[0] * (len(value) - len(value.lstrip(b"\0"))) + digits


def to_base32(value: bytes) -> str:
    """Write bytes in lower-case base32 without padding."""
    return base64.b32encode(value).decode().rstrip("=").lower()


def from_multibase(text: str) -> bytes:
    """
    Read a text whose first character names its base: those that IPFS uses for CIDs.

    Raises:
        ValueError: the base is another, or the text is not in it.
    """
    prefix, rest = text[:1], text[1:]
    if not rest.isascii():
        raise ValueError("not ASCII")
    if prefix in ("b", "B"):
        if rest != (rest.lower() if prefix == "b" else rest.upper()):
            raise ValueError("mixed case")
        return _base32(rest.upper())
    if prefix == "z":
        return from_digits(rest, BASE58)
    if prefix in ("k", "K"):
        return from_digits(rest.lower(), _BASE36)
    if prefix in ("f", "F"):
        return binascii.unhexlify(rest)
    if prefix in ("u", "m"):
        return _base64(rest, url=prefix == "u")
    raise ValueError(f"no base goes by {prefix!r}")


def _base32(text: str) -> bytes:
    found = base64.b32decode(text + "=" * (-len(text) % 8))
    if to_base32(found).upper() != text:
        raise ValueError("bits are left over")
    return found


def _base64(text: str, *, url: bool) -> bytes:
    found = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_" if url else None, validate=True)
    written = base64.urlsafe_b64encode(found) if url else base64.b64encode(found)
    if written.decode().rstrip("=") != text:
        raise ValueError("bits are left over")
    return found
