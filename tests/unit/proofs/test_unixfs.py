"""CIDs as IPFS's own JavaScript gives them; `tests/samples/proofs/cids.mjs` wrote the samples."""

import json
from pathlib import Path
from typing import Any

import pytest

from listener.proofs.cid import parse
from listener.proofs.unixfs import LAYOUTS, cid_of, matches

SAMPLES = json.loads((Path(__file__).parents[2] / "samples/proofs/cids.json").read_text())
LARGE = 2**22  # bytes; beyond it one test is enough


def content_of(sample: dict[str, Any]) -> bytes:
    if "text" in sample:
        return str(sample["text"]).encode()
    size = sample["size"]
    piece = bytes((7 * i + (i >> 8)) & 255 for i in range(min(size, 65536)))  # it begins again after 64 KiB
    return (piece * (size // 65536 + 1))[:size]


def name(sample: dict[str, Any]) -> str:
    return str(sample.get("size", sample.get("text")))


@pytest.mark.parametrize("sample", SAMPLES, ids=name)
def test_the_cids_are_those_of_both_npm_packages(sample: dict[str, Any]) -> None:
    content = content_of(sample)
    assert str(cid_of(content, 0)) == sample["v0"]
    assert str(cid_of(content, 1)) == sample["v1"]
    assert str(cid_of(content, 1, raw_leaves=False)) == sample["v1_dag_pb"]
    assert str(cid_of(content, 1, layout=LAYOUTS[1])) == sample["v1_2025"]


@pytest.mark.parametrize("sample", [each for each in SAMPLES if each.get("size", 0) < LARGE], ids=name)
def test_content_matches_each_of_its_cids_and_none_with_a_bit_changed(sample: dict[str, Any]) -> None:
    content = content_of(sample)
    other = content + b"x" if not content else bytes([content[0] ^ 1]) + content[1:]
    for kind in ("v0", "v1", "v1_dag_pb", "v1_2025"):
        cid = parse(sample[kind])
        assert str(cid) == sample[kind]
        assert matches(content, cid)
        assert not matches(other, cid)
        assert not matches(content + b"\0", cid)
