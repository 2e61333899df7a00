"""A proof is on disk, whole, when put returns, or not there at all."""

import asyncio
import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from listener.errors import ProofNotFound, ProofUnavailable
from listener.proofs.cid import Cid
from listener.proofs.folder import UNFINISHED, Folder, problem
from listener.proofs.unixfs import cid_of

CONTENT = b'{"a":1,"b":"hello"}'
CID = cid_of(CONTENT, 1)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


async def test_the_file_and_its_name_are_synced_before_and_after_it_is_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(number: int) -> None:
        place = Path(os.readlink(f"/proc/self/fd/{number}"))  # noqa: PTH115 - of a number
        done.append("sync " + ("folder" if place.is_dir() else place.name[: len(UNFINISHED)]))
        if place.is_file():
            assert place.read_bytes() == CONTENT
        fsync(number)

    def moved(self: Path, target: Path) -> Path:
        done.append("move")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", moved)
    await Folder(tmp_path / "proofs").keep(CID, CONTENT)
    assert done == ["sync folder", "sync folder", f"sync {UNFINISHED}", "move", "sync folder"]
    done.clear()
    await Folder(tmp_path / "proofs").keep(CID, CONTENT)  # it is there, but perhaps not its name
    assert done == ["sync folder"]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
async def test_a_write_that_fails_leaves_nothing_under_the_cid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    folder = Folder(tmp_path)
    folder.place(CID).parent.mkdir()

    def fail(*_args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os if broken == "fsync" else Path, broken, fail)
    with pytest.raises(ProofUnavailable, match="No space left on device"):
        await folder.keep(CID, CONTENT)
    assert files(tmp_path) == []
    monkeypatch.undo()
    with pytest.raises(ProofNotFound):
        await folder.find(CID, 100)


async def test_a_damaged_file_is_told_and_written_anew(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    await folder.keep(CID, CONTENT)
    for damage in (b"", CONTENT[:-1], CONTENT.replace(b"1", b"2")):
        folder.place(CID).write_bytes(damage)
        with capture_logs() as logs, pytest.raises(ProofNotFound, match="damaged"):
            await folder.find(CID, 100)
        assert [(line["event"], line["log_level"]) for line in logs] == [("proof.damaged", "error")]
        await folder.keep(CID, CONTENT)
        assert await folder.find(CID, 100) == CONTENT


async def test_what_is_no_plain_file_is_not_read(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    place = folder.place(CID)
    place.parent.mkdir()
    os.mkfifo(place)  # a reader would wait for ever
    with capture_logs(), pytest.raises(ProofNotFound):
        await folder.find(CID, 100)
    place.unlink()
    (tmp_path / "elsewhere").write_bytes(CONTENT)
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ProofUnavailable, match="symbolic links"):
        await folder.find(CID, 100)


async def test_many_who_put_the_same_at_once_leave_one_file(tmp_path: Path) -> None:
    await asyncio.gather(*(Folder(tmp_path).keep(CID, CONTENT) for _ in range(20)))
    assert files(tmp_path) == [CID.name]


async def test_a_file_beyond_the_limit_is_not_read_whole(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    await folder.keep(CID, CONTENT)
    assert await folder.find(CID, len(CONTENT)) == CONTENT
    with pytest.raises(ProofNotFound, match="larger than"):
        await folder.find(CID, len(CONTENT) - 1)


async def test_what_was_cut_off_is_removed_after_an_hour_and_a_proof_never(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    await folder.keep(CID, CONTENT)
    old, new = (folder.place(CID).parent / f"{UNFINISHED}{name}" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"ha")
    for path in (old, folder.place(CID)):
        os.utime(path, (1, 1))
    await Folder(tmp_path).keep(cid_of(b"{}", 1), b"{}")
    assert files(tmp_path) == sorted([CID.name, new.name, cid_of(b"{}", 1).name])


async def test_a_file_goes_by_one_name_whatever_the_version(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    old = cid_of(CONTENT, 0)
    await folder.keep(old, CONTENT)
    assert await folder.find(Cid(1, old.codec, old.digest), 100) == CONTENT


async def test_a_disk_that_hangs_does_not_hold_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hung, go_on = threading.Event(), threading.Event()

    def hang(_number: int) -> None:
        hung.set()
        go_on.wait(20)

    monkeypatch.setattr(os, "fsync", hang)
    writing = asyncio.ensure_future(Folder(tmp_path).keep(CID, CONTENT))
    assert await asyncio.to_thread(hung.wait, 20)
    assert not writing.done()
    go_on.set()
    await writing


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    assert problem(tmp_path) is None
    assert problem(tmp_path / "new" / "proofs") is None
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    assert str(problem(tmp_path / "file")).endswith("file is no folder; name another in [proofs] folder")
    assert "is no folder" in str(problem(tmp_path / "file" / "proofs"))
    assert "no proof can be written" in str(problem(Path("/proc")))
