"""Proofs of the local store are served to everybody, and nothing else is."""

import base64
import threading
from pathlib import Path
from urllib.parse import quote

import pytest
from serving import is_refusal, serving

from listener.config import Proofs
from listener.proofs import opened
from listener.proofs.cid import Cid, parse
from listener.proofs.folder import Folder
from listener.web import ipfs, ipfs_route

PROOF = {"a": 1, "b": "hello"}
CONTENT = b'{"a":1,"b":"hello"}'


async def kept(path: Path, version: int = 1) -> tuple[Folder, Cid]:
    proofs = opened(Proofs(folder=path / "proofs", cid_version=version))
    assert proofs.folder is not None
    return proofs.folder, parse(await proofs.proofs.put(PROOF))


@pytest.mark.parametrize("version", [0, 1])
async def test_a_proof_is_served_on_both_binds_without_a_token_under_every_spelling(
    tmp_path: Path, version: int
) -> None:
    folder, cid = await kept(tmp_path, version)
    binary = bytes([1, cid.codec, 0x12, 0x20]) + cid.digest
    spellings = [str(cid), cid.name, cid.name.upper(), "f" + binary.hex()]
    spellings.append("u" + base64.urlsafe_b64encode(binary).decode().rstrip("="))
    async with serving(ipfs_route(folder, 1000), token="long-enough-word") as served:  # noqa: S106 - of this test
        for base in (served.url, served.attesters):
            for spelling in spellings:
                async with served.session.get(f"{base}/ipfs/{spelling}") as answer:
                    assert (answer.status, await answer.read()) == (200, CONTENT)
                    assert answer.content_type == "application/json"
                    assert "immutable" in answer.headers["Cache-Control"]
                    assert await answer.json() == PROOF
        async with served.session.head(f"{served.url}/ipfs/{cid}") as answer:
            assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(CONTENT)))


async def test_nothing_but_proofs_is_reached(tmp_path: Path) -> None:
    folder, cid = await kept(tmp_path)
    (tmp_path / "proofs" / "secret").write_text("secret")
    (tmp_path / "secret").write_text("secret")
    shard = folder.place(cid).parent
    (shard / "secret").write_text("secret")
    names = [
        "secret",
        "../secret",
        "..",
        ".",
        f"../proofs/{shard.name}/secret",
        f"{shard.name}/secret",
        "%00",
        "a" * 300,
    ]
    names += [f"{cid}/../secret", f"{cid}x", "Qm" + "1" * 44, str(Cid(1, 0x55, bytes(32))), "ü"]
    async with serving(ipfs_route(folder, 1000)) as served:
        for name in names:
            for written in (quote(name, safe="/.%"), quote(name, safe="")):
                status, answer = await served.raw(f"GET /ipfs/{written} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert status in (400, 404), written
                assert is_refusal(answer)
                assert "secret" not in str(answer["message"]).replace(f"'{name}'", "")


async def test_a_file_that_is_not_what_its_name_says_is_not_served(tmp_path: Path) -> None:
    folder, cid = await kept(tmp_path)
    folder.place(cid).write_bytes(CONTENT.replace(b"1", b"2"))
    async with serving(ipfs_route(folder, 1000)) as served:
        status, answer = await served.ask("GET", f"/ipfs/{cid}")
        assert status == 404
        assert is_refusal(answer)
        folder.place(cid).unlink()
        folder.place(cid).symlink_to("/etc/passwd")
        assert (await served.ask("GET", f"/ipfs/{cid}"))[0] == 503
        assert (await served.ask("POST", f"/ipfs/{cid}"))[0] == 405


async def test_a_disk_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, cid = await kept(tmp_path)
    go_on = threading.Event()
    monkeypatch.setattr(Folder, "_read", lambda *_args: go_on.wait(20))
    monkeypatch.setattr(ipfs, "READ_S", 0.05)
    async with serving(ipfs_route(folder, 1000)) as served:
        status, answer = await served.ask("GET", f"/ipfs/{cid}")
        assert status == 503
        assert is_refusal(answer)
    go_on.set()
