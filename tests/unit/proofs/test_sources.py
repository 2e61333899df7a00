"""Gateways and pinning services, of which each may lie, hang, or be away."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from listener.config import Proofs
from listener.errors import ProofError, ProofNotFound, ProofRejected, ProofUnavailable
from listener.proofs import opened
from listener.proofs.cid import parse
from listener.proofs.unixfs import cid_of
from listener.testing import FakeIpfs

PROOF = {"b": "hello", "a": 2**70}
CONTENT = b'{"a":1180591620717411303424,"b":"hello"}'
LARGE = {"text": "x" * 300_000}  # more than one chunk
TOKEN = "a-token-of-pinata"  # noqa: S105 - nobody's


def store(ipfs: FakeIpfs, backend: str, **settings: Any) -> Any:
    who = {"token": TOKEN} if backend == "pinata" else {}
    return opened(Proofs(backend=backend, url=ipfs.url, **who, **settings)).proofs


def reading(folder: Path, *gateways: FakeIpfs, **settings: Any) -> Any:
    return opened(Proofs(folder=folder, gateways=[f"{each.url}/ipfs/" for each in gateways], **settings)).looked_up


def served(fake: FakeIpfs, content: bytes, version: int = 1) -> str:
    cid = cid_of(content, version)
    fake.kept[cid.name] = content
    return str(cid)


def answers(fake: FakeIpfs, status: int = 200, body: bytes = b"", **headers: str) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers)

    fake.answer = answer


async def hangs(_request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("backend", ["kubo", "pinata"])
@pytest.mark.parametrize("proof", [PROOF, LARGE])
async def test_a_service_keeps_the_canonical_bytes_under_our_own_cid(
    ipfs: FakeIpfs, backend: str, version: int, proof: Any
) -> None:
    cid = await store(ipfs, backend, cid_version=version).put(proof)
    content = json.dumps(proof, sort_keys=True, separators=(",", ":")).encode()
    assert cid == str(cid_of(content, version))
    assert ipfs.kept == {parse(cid).name: content}
    read = store(ipfs, backend, gateways=[ipfs.url])  # another process
    assert await read.get(cid) == proof


async def test_what_was_put_is_read_without_asking_anybody(ipfs: FakeIpfs) -> None:
    own = store(ipfs, "pinata")
    cid = await own.put(PROOF)
    asked = len(ipfs.requests)
    assert await own.get(cid) == PROOF
    assert len(ipfs.requests) == asked


async def test_pinata_is_told_who_we_are_in_either_way(ipfs: FakeIpfs) -> None:
    await store(ipfs, "pinata").put(PROOF)
    assert ipfs.requests[-1][1]["Authorization"] == f"Bearer {TOKEN}"
    pair = Proofs(backend="pinata", url=ipfs.url, key="the-key-12", secret="the-secret-34")  # noqa: S106 - nobody's
    await opened(pair).proofs.put(PROOF)
    headers = ipfs.requests[-1][1]
    assert (headers["pinata_api_key"], headers["pinata_secret_api_key"]) == ("the-key-12", "the-secret-34")
    assert set(pair.secrets) == {"the-key-12", "the-secret-34"}


async def test_the_secrets_of_a_gateway_are_used_and_known_as_such(ipfs: FakeIpfs, tmp_path: Path) -> None:
    settings = Proofs(folder=tmp_path, gateways=[f"{ipfs.url}?pinataGatewayToken=hidden-w0rd-12"])
    cid = served(ipfs, CONTENT)
    assert await opened(settings).looked_up.get(cid) == PROOF
    assert ipfs.requests[-1][0] == f"/ipfs/{cid}?pinataGatewayToken=hidden-w0rd-12"
    assert "hidden-w0rd-12" in settings.secrets
    ipfs.kept.clear()
    with pytest.raises(ProofNotFound) as caught:
        await opened(settings).looked_up.get(cid)
    assert "hidden-w0rd-12" not in str(caught.value)


@pytest.mark.parametrize("backend", ["kubo", "pinata"])
@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, b"", ProofUnavailable),
        (503, b"no", ProofUnavailable),
        (429, b"", ProofUnavailable),
        (401, b"", ProofError),
        (200, b"", ProofError),
        (200, b"<html>", ProofError),
        (200, b"[]", ProofError),
        (200, b'{"Hash":7,"IpfsHash":7}', ProofError),
        (200, b'{"Hash":"","IpfsHash":""}', ProofError),
        (200, b"[" * 20_000, ProofError),
        (200, b"x" * 2**17, ProofError),
        (302, b"", ProofUnavailable),
    ],
)
async def test_no_cid_is_given_for_what_a_service_did_not_keep(
    ipfs: FakeIpfs, backend: str, status: int, body: bytes, error: type[ProofError]
) -> None:
    answers(ipfs, status, body, Location=f"{ipfs.url}/elsewhere")
    with pytest.raises(ProofError) as caught:
        await store(ipfs, backend).put(PROOF)
    assert isinstance(caught.value, error)
    assert TOKEN not in str(caught.value)


async def test_a_service_that_calls_it_otherwise_did_not_keep_it(ipfs: FakeIpfs) -> None:
    other = str(cid_of(b"other", 1))
    answers(ipfs, 200, json.dumps({"Hash": other, "IpfsHash": other}).encode())
    for backend in ("kubo", "pinata"):
        with pytest.raises(ProofError, match="did not keep what was sent"):
            await store(ipfs, backend).put(PROOF)


@pytest.mark.parametrize("backend", ["kubo", "pinata"])
async def test_what_may_pass_is_tried_again(ipfs: FakeIpfs, backend: str) -> None:
    async def once(_request: web.Request) -> web.StreamResponse:
        ipfs.answer = None
        return web.Response(status=503)

    ipfs.answer = once
    assert parse(await store(ipfs, backend).put(PROOF)).name in ipfs.kept


@pytest.mark.parametrize("backend", ["kubo", "pinata"])
async def test_a_service_that_hangs_ends_with_the_time_limit(ipfs: FakeIpfs, backend: str) -> None:
    ipfs.answer = hangs
    with pytest.raises(ProofUnavailable, match=r"not stored within proofs\.timeout_s = 0\.2"):
        await store(ipfs, backend, timeout_s=0.2).put(PROOF)


async def test_a_service_that_is_away_makes_the_proof_fail_and_not_be_empty() -> None:
    away = FakeIpfs()
    async with away.open():
        pass
    with pytest.raises(ProofUnavailable, match="no whole answer"):
        await store(away, "kubo").put(PROOF)


async def test_the_first_gateway_with_the_right_content_counts(ipfs: FakeIpfs, other: FakeIpfs, tmp_path: Path) -> None:
    cid = served(other, CONTENT, version=0)
    for lie in (b"", b"{}", CONTENT + b" ", b"x" * 2**21):
        answers(ipfs, 200, lie)
        assert await reading(tmp_path, ipfs, other).get(cid) == PROOF
    for status in (301, 403, 404, 500):
        answers(ipfs, status, Location=f"{other.url}/ipfs/{cid}")
        assert await reading(tmp_path, ipfs, other).get(cid) == PROOF
    ipfs.answer = hangs
    assert await reading(tmp_path, ipfs, other).get(cid) == PROOF
    assert not os.listdir(tmp_path)  # noqa: PTH208 - what a claim names does not fill our disk


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, b"", ProofNotFound),
        (410, b"", ProofNotFound),
        (200, b"{}", ProofNotFound),
        (200, b"x" * 2**21, ProofNotFound),
        (302, b"", ProofUnavailable),
        (403, b"", ProofUnavailable),
        (429, b"", ProofUnavailable),
        (500, b"", ProofUnavailable),
    ],
)
async def test_only_a_clear_answer_of_all_gateways_says_that_a_proof_is_not_to_be_had(  # noqa: PLR0917
    ipfs: FakeIpfs, other: FakeIpfs, tmp_path: Path, status: int, body: bytes, error: type[ProofError]
) -> None:
    cid = served(FakeIpfs(), CONTENT)
    answers(other, status, body, Location=f"{ipfs.url}/ipfs/{cid}")
    with pytest.raises(ProofError) as caught:
        await reading(tmp_path, ipfs, other).get(cid)
    assert type(caught.value) is error
    assert isinstance(caught.value, ProofRejected) == (error is ProofNotFound)


async def test_a_redirect_is_not_followed(ipfs: FakeIpfs, other: FakeIpfs, tmp_path: Path) -> None:
    cid = served(ipfs, CONTENT)
    answers(other, 302, Location=f"{ipfs.url}/ipfs/{cid}")
    with pytest.raises(ProofUnavailable, match="redirects are not followed"):
        await reading(tmp_path, other).get(cid)
    assert not ipfs.requests


async def test_content_that_is_packed_is_not_unpacked(ipfs: FakeIpfs, tmp_path: Path) -> None:
    answers(ipfs, 200, b"bomb", **{"Content-Encoding": "gzip"})
    with pytest.raises(ProofUnavailable, match="packed"):
        await reading(tmp_path, ipfs).get(served(FakeIpfs(), CONTENT))


async def test_content_without_end_is_cut_off_at_the_limit_or_the_time(ipfs: FakeIpfs, tmp_path: Path) -> None:
    async def drip(request: web.Request, piece: bytes, pause_s: float) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(piece)
            await asyncio.sleep(pause_s)

    ipfs.answer = lambda request: drip(request, b"x" * 10_000, 0)
    cid = served(FakeIpfs(), CONTENT)
    with pytest.raises(ProofNotFound, match="larger than 100000 bytes"):
        await reading(tmp_path, ipfs, max_bytes=100_000).get(cid)
    ipfs.answer = lambda request: drip(request, b"x", 0.01)
    with pytest.raises(ProofUnavailable, match=r"no answer within proofs\.timeout_s = 0\.3"):
        await reading(tmp_path, ipfs, timeout_s=0.3).get(cid)


async def test_a_proof_that_fits_its_cid_but_is_no_json_is_rejected(ipfs: FakeIpfs, tmp_path: Path) -> None:
    for content in (b"", b"hello", b"[" * 5000, b'{"a":1,"a":2}', b"\xff", b"[1.5]"):
        cid = served(ipfs, content)
        with pytest.raises(ProofRejected, match="the proof"):
            await reading(tmp_path, ipfs).get(cid)


async def test_an_attacker_learns_nothing_by_a_cid_that_is_a_path(ipfs: FakeIpfs, tmp_path: Path) -> None:
    for text in ("../../etc/passwd", f"{served(ipfs, CONTENT)}/../x", f"{served(ipfs, CONTENT)}?x", "bafy%2e%2e"):
        with pytest.raises(ProofRejected):
            await reading(tmp_path, ipfs).get(text)
    assert not ipfs.requests


async def test_every_spelling_is_asked_for_in_one(ipfs: FakeIpfs, tmp_path: Path) -> None:
    cid = served(ipfs, CONTENT)
    shouted = cid.upper()
    assert await reading(tmp_path, ipfs).get(shouted) == PROOF
    assert ipfs.requests[-1][0] == f"/ipfs/{cid}"


async def test_kubo_that_looks_for_ever_does_not_keep_gateways_waiting(ipfs: FakeIpfs, other: FakeIpfs) -> None:
    ipfs.answer = hangs
    assert await store(ipfs, "kubo", gateways=[other.url]).get(served(other, CONTENT)) == PROOF


async def test_kubo_without_the_block_is_no_reason_to_reject(ipfs: FakeIpfs) -> None:
    with pytest.raises(ProofUnavailable, match=r"no proofs\.gateways are set"):
        await store(ipfs, "kubo").get(served(FakeIpfs(), CONTENT))
