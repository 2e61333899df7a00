import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import ProofRejected
from listener.proofs.cid import DAG_PB, RAW, Cid, parse

DIGEST = bytes(range(32))
RAW_BYTES = b"\x01\x55\x12\x20" + DIGEST
PB_BYTES = b"\x01\x70\x12\x20" + DIGEST


def base32(content: bytes) -> str:
    return base64.b32encode(content).decode().rstrip("=")


def big(content: bytes, alphabet: str) -> str:
    number, found = int.from_bytes(content, "big"), ""
    while number:
        number, digit = divmod(number, len(alphabet))
        found = alphabet[digit] + found
    return found


B58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
B36 = "0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    "spelling",
    [
        "b" + base32(RAW_BYTES).lower(),
        "B" + base32(RAW_BYTES),
        "z" + big(RAW_BYTES, B58),
        "k" + big(RAW_BYTES, B36),
        "K" + big(RAW_BYTES, B36).upper(),
        "f" + RAW_BYTES.hex(),
        "F" + RAW_BYTES.hex().upper(),
        "u" + base64.urlsafe_b64encode(RAW_BYTES).decode().rstrip("="),
        "m" + base64.b64encode(RAW_BYTES).decode().rstrip("="),
    ],
)
def test_all_spellings_are_one_cid(spelling: str) -> None:
    assert parse(spelling) == Cid(1, RAW, DIGEST)


def test_both_versions_of_a_file_have_one_name() -> None:
    old, new = parse(str(Cid(0, DAG_PB, DIGEST))), parse("b" + base32(PB_BYTES).lower())
    assert old.name == new.name == str(new)
    assert str(old).startswith("Qm")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no CID"),
        ("hello", "is no CID"),
        ("../../etc/passwd", "is no CID"),
        ("ipfs://Qm" + "1" * 44, "is no CID"),
        ("Qm" + "1" * 43 + "0", "is no CID"),  # a zero is no digit of base58
        ("Qm" + "z" * 44, "is no CID"),  # more than the 34 bytes
        ("b" + base32(RAW_BYTES), "is no CID"),  # lower case is named, upper case stands there
        ("b" + base32(RAW_BYTES).lower()[:-1], "another hash|is no CID"),
        ("b" + base32(RAW_BYTES + b"x").lower(), "another hash"),
        ("b" + base32(RAW_BYTES[:-1]).lower(), "another hash"),
        ("b" + base32(b"\x01\x55\x00\x04hide").lower(), "another hash"),  # the identity hash
        ("b" + base32(b"\x01\x55\x13\x40" + bytes(64)).lower(), "another hash|characters"),
        ("b" + base32(b"\x01\x71\x12\x20" + DIGEST).lower(), "begins with 0x01711220"),  # dag-cbor
        ("b" + base32(b"\x02\x55\x12\x20" + DIGEST).lower(), "is not of version 1"),
        ("b" + base32(b"\x12\x20" + DIGEST).lower(), "is not of version 1"),  # version 0 has no base
        ("q" + "a" * 58, "is no CID"),
        ("bü", "is no CID"),
        ("b" + "a" * 200, "201 characters"),
        ("z" + "1" * 100_000, "100001 characters"),
        ("\ud800", "is no CID"),
    ],
)
def test_what_is_no_cid_of_a_proof_is_rejected_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ProofRejected, match=why) as caught:
        parse(text)
    assert len(str(caught.value)) < 300


@given(st.text(max_size=140))
def test_any_text_is_a_cid_or_rejected(text: str) -> None:
    try:
        cid = parse(text)
    except ProofRejected:
        return
    assert parse(str(cid)) == cid
    assert cid.name.isalnum()


@given(st.binary(min_size=32, max_size=32), st.sampled_from([(0, DAG_PB), (1, DAG_PB), (1, RAW)]))
def test_a_cid_is_read_as_it_is_written(digest: bytes, kind: tuple[int, int]) -> None:
    cid = Cid(*kind, digest)
    assert parse(str(cid)) == cid
    assert parse(cid.name).name == cid.name
