from pathlib import Path
from typing import Any

import pytest

from listener import ProofError, ProofRejected, ProofUnavailable
from listener.metrics import registry
from listener.model import Claim
from listener.proofs import Inline, LookUp, Store
from listener.proofs.folder import Folder
from listener.proofs.memory import REMEMBERED, Remembered
from listener.proofs.unixfs import cid_of
from listener.testing import claim_context, context, memory_proofs

PROOF = {"b": "hello", "a": 1}
CID = "bafkreigyjk47qv2ti43qoiu5ac4smi7q7gq3ron7nf3d7ropy2jlk3bdnm"  # of {"a":1,"b":"hello"}, as npm's tools give it


def store(folder: Path, *, cid_version: int = 1, max_bytes: int = 2**20) -> Store:
    return Store(Folder(folder), cid_version=cid_version, timeout_s=10, max_bytes=max_bytes)


async def test_what_was_put_is_found_by_its_cid_also_by_another_process(tmp_path: Path) -> None:
    assert await store(tmp_path / "proofs").put(PROOF) == CID
    assert await store(tmp_path / "proofs").get(CID) == PROOF


async def test_validate_stores_nothing_and_gives_the_same_cid(tmp_path: Path) -> None:
    looking = LookUp(store(tmp_path / "proofs"))
    assert await looking.put(PROOF) == CID
    assert not (tmp_path / "proofs").exists()
    with pytest.raises(ProofUnavailable, match=r"no proofs\.gateways are set"):
        await looking.get(CID)


async def test_a_task_is_tested_by_calling_it_with_what_another_context_put() -> None:
    cid = await context().proofs.put(PROOF)
    claim = Claim(cid, b"", 0, "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266")
    assert await claim_context(claim).proofs.get(cid) == PROOF
    with pytest.raises(ProofUnavailable):
        await claim_context(claim, proofs=memory_proofs()).proofs.get(cid)


async def test_a_proof_inline_is_its_own_canonical_text() -> None:
    inline = Inline(100)
    assert await inline.put(PROOF) == '{"a":1,"b":"hello"}'
    assert await inline.get('{"a":1,"b":"hello"}') == PROOF
    with pytest.raises(ProofRejected, match="not canonical"):
        await inline.get('{"b":"hello","a":1}')
    with pytest.raises(ProofError, match=r"more than proofs\.max_bytes = 100"):
        await inline.put("x" * 99)
    with pytest.raises(ProofRejected, match=r"more than proofs\.max_bytes = 100"):
        await inline.get('"' + "x" * 99 + '"')


async def test_what_comes_of_each_call_is_counted(tmp_path: Path) -> None:
    def count(call: str, outcome: str) -> float:
        return registry.get_sample_value("listener_proofs_total", {"call": call, "outcome": outcome}) or 0

    names = [("put", "ok"), ("put", "refused"), ("put", "unavailable"), ("get", "ok"), ("get", "rejected")]
    names.append(("get", "unavailable"))
    before = [count(*name) for name in names]
    own = store(tmp_path / "proofs")
    cid = await own.put(PROOF)
    await own.get(cid)
    (tmp_path / "file").write_text("")
    wrong: list[tuple[Any, Any]] = [
        (own.put, 1.5),
        (store(tmp_path / "file").put, PROOF),
        (own.get, "hello"),
        (store(tmp_path / "other").get, cid),
    ]
    for call, value in wrong:
        with pytest.raises(ProofError):
            await call(value)
    assert [count(*name) - was for name, was in zip(names, before, strict=True)] == [1] * 6


async def test_the_largest_proof_is_kept_and_one_byte_more_is_refused(tmp_path: Path) -> None:
    own = store(tmp_path, max_bytes=100)
    assert await own.get(await own.put("x" * 98)) == "x" * 98
    with pytest.raises(ProofError, match=r"101 bytes, more than proofs\.max_bytes = 100"):
        await own.put("x" * 99)


async def test_what_is_remembered_has_a_limit() -> None:
    remembered = Remembered(100)
    for number in range(50):
        content = bytes([number]) * 90
        remembered.add(cid_of(content, 1), content)
    assert sum(remembered.get(cid_of(bytes([number]) * 90, 1)) is not None for number in range(50)) == REMEMBERED
