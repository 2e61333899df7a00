"""The digest is what the attestation contract computes."""

import json
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from listener.signing import digest_of, encoded

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "vectors_ecdsa.json").read_text())
ANYONE = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=200)  # what UTF-8 can write
addresses = st.binary(min_size=20, max_size=20).map(to_checksum_address)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_every_vector_is_encoded_and_hashed_to_the_byte(vector: dict[str, Any]) -> None:
    fields = (
        vector["proofOfTask"],
        bytes.fromhex(vector["data"][2:]),
        vector["performerAddress"],
        vector["taskDefinitionId"],
    )
    assert "0x" + encoded(*fields).hex() == vector["encoded"]
    assert "0x" + digest_of(*fields).hex() == vector["digest"]


@given(proof=texts, data=st.binary(max_size=200), performer=addresses, definition=st.integers(0, 65535))
def test_the_encoding_is_the_general_encoders(proof: str, data: bytes, performer: str, definition: int) -> None:
    general = encode(["string", "bytes", "address", "uint16"], [proof, data, performer, definition])
    assert encoded(proof, data, performer, definition) == general
    assert digest_of(proof, data, performer, definition) == keccak(general)


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 63, 64, 65, 1000])
def test_padding_ends_at_whole_words(length: int) -> None:
    general = encode(["string", "bytes", "address", "uint16"], ["p" * length, b"d" * length, ANYONE, 1])
    assert encoded("p" * length, b"d" * length, ANYONE, 1) == general


@pytest.mark.parametrize("definition", [-1, 65536, 2**256])
def test_a_definition_outside_uint16_is_refused(definition: int) -> None:
    with pytest.raises(ValueError, match=f"task_definition_id {definition}: outside 0..65535"):
        encoded("proof", b"", ANYONE, definition)


@pytest.mark.parametrize("performer", ["0x12", "", ANYONE + "00"])
def test_a_performer_that_is_no_address_is_refused(performer: str) -> None:
    with pytest.raises(ValueError, match="not a 20-byte address"):
        encoded("proof", b"", performer, 0)


def test_the_case_of_an_address_does_not_matter() -> None:
    assert digest_of("p", b"", ANYONE, 0) == digest_of("p", b"", ANYONE.lower(), 0)


@given(st.lists(st.tuples(texts, st.binary(max_size=40), st.integers(0, 3)), min_size=2, max_size=4, unique=True))
def test_different_results_have_different_digests(results: list[tuple[str, bytes, int]]) -> None:
    assert len({digest_of(proof, data, ANYONE, number) for proof, data, number in results}) == len(results)
