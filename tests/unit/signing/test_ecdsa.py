"""A signature is one that the contract accepts, and the key is seen nowhere."""

import json
import pickle
from pathlib import Path
from typing import Any

import coincurve
import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import ConfigError
from listener.model import TaskResult
from listener.signing import Signer, digest_of

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "vectors_ecdsa.json").read_text())
SIGNED_BY_ITS_PERFORMER = [each for each in VECTORS if each["signerAddress"] == each["performerAddress"]]
KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.mark.parametrize("vector", SIGNED_BY_ITS_PERFORMER, ids=lambda vector: vector["name"])
def test_every_vector_is_signed_to_the_byte(vector: dict[str, Any]) -> None:
    result = TaskResult(vector["proofOfTask"], bytes.fromhex(vector["data"][2:]))
    payload = Signer(vector["privateKey"]).sign(result, vector["taskDefinitionId"])
    assert payload.performer == vector["performerAddress"]
    assert "0x" + payload.digest.hex() == vector["digest"]
    assert "0x" + payload.signature.hex() == vector["signature"]
    assert (payload.proof_of_task, payload.data) == (result.proof_of_task, result.data)
    assert payload.task_definition_id == vector["taskDefinitionId"]


@given(
    key=st.integers(1, ORDER - 1),
    proof=st.text(st.characters(exclude_categories=("Cs",)), max_size=50),
    data=st.binary(max_size=50),
    definition=st.integers(0, 65535),
)
def test_any_signature_recovers_to_the_performer_has_a_low_s_and_v_27_or_28(
    key: int, proof: str, data: bytes, definition: int
) -> None:
    payload = Signer(f"{key:064x}").sign(TaskResult(proof, data), definition)
    raw = payload.signature
    assert len(raw) == 65
    assert raw[64] in (27, 28)
    assert int.from_bytes(raw[32:64]) <= ORDER // 2
    public = coincurve.PublicKey.from_signature_and_message(
        raw[:64] + bytes([raw[64] - 27]), payload.digest, hasher=None
    )
    assert coincurve.PrivateKey(key.to_bytes(32)).public_key == public
    assert payload.digest == digest_of(proof, data, payload.performer, definition)


def test_the_same_result_is_signed_alike_each_time() -> None:
    assert Signer(KEY).sign(TaskResult("p", b"d"), 1) == Signer(KEY).sign(TaskResult("p", b"d"), 1)


def test_it_agrees_with_eth_account() -> None:
    payload = Signer(KEY).sign(TaskResult("p", b"d"), 1)
    theirs = Account.unsafe_sign_hash(payload.digest, KEY)
    assert payload.signature == bytes(theirs.signature)


@pytest.mark.parametrize("key", [KEY, KEY[2:], KEY.upper().replace("0X", "0x"), f"  {KEY}\n"])
def test_a_key_is_read_in_any_of_its_forms(key: str) -> None:
    assert Signer(key).address == ADDRESS


@pytest.mark.parametrize(
    "key",
    [
        "",
        "0x",
        "hunter2 is no key",
        KEY[:-2],
        KEY + "00",
        "0x" + "0" * 64,
        f"0x{ORDER:064x}",
        "0x" + "zz" * 32,
        " ".join((KEY[:40], KEY[40:])),
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError, match=r"performer\.key: not a private key") as raised:
        Signer(key)
    assert len(key) < 3 or key not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_the_performer_must_be_the_signer() -> None:
    other = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
    assert Signer(KEY, ADDRESS).address == Signer(KEY, ADDRESS.lower()).address == ADDRESS
    with pytest.raises(ConfigError, match=f"{other} is not the key's address {ADDRESS}") as raised:
        Signer(KEY, other)
    assert KEY[2:] not in str(raised.value)


def test_a_definition_outside_uint16_is_never_signed() -> None:
    with pytest.raises(ValueError, match="task_definition_id 65536"):
        Signer(KEY).sign(TaskResult("p"), 65536)


def test_a_proof_that_utf_8_cannot_write_is_never_signed() -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        Signer(KEY).sign(TaskResult("\ud800"), 1)


def test_no_text_of_a_signer_holds_its_key() -> None:
    signer = Signer(KEY)
    for text in (repr(signer), str(signer), f"{signer}"):
        assert KEY[2:] not in text
        assert text == f"Signer({ADDRESS})"
    with pytest.raises(TypeError):
        pickle.dumps(signer)


@given(key=st.integers(1, ORDER - 1))
def test_the_address_is_that_of_eth_account(key: int) -> None:
    assert Signer(f"{key:064x}").address == Account.from_key(key.to_bytes(32)).address
