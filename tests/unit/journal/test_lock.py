"""One process owns a journal, until it ends, however it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from world import RULES

from listener.errors import JournalError
from listener.journal import Journal
from listener.journal.lock import OwnerLock

OWN = """
import sys
from pathlib import Path
from listener.journal.lock import OwnerLock
lock = OwnerLock(Path(sys.argv[1]))
print("owned", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def journal_path(tmp_path: Path) -> Path:
    return tmp_path / "listener.db"


class Owner:
    """Another process that owns the journal."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
            [sys.executable, "-c", OWN, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "owned\n"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


async def test_a_second_process_is_refused_and_told_who_the_owner_is(journal_path: Path) -> None:
    owner = Owner(journal_path)
    try:
        with pytest.raises(JournalError, match=rf"listener\.db: process {owner.process.pid} owns it"):
            await Journal.open(journal_path, RULES)
        assert len(list(os.scandir(journal_path.parent))) == 1, "whoever is refused leaves nothing behind"
    finally:
        owner.kill()


async def test_a_killed_owner_frees_the_journal(journal_path: Path) -> None:
    Owner(journal_path).kill()
    journal = await Journal.open(journal_path, RULES)
    await journal.close()


async def test_the_same_process_is_refused_too(journal_path: Path) -> None:
    journal = await Journal.open(journal_path, RULES)
    with pytest.raises(JournalError, match=f"process {os.getpid()} owns it"):
        await Journal.open(journal_path, RULES)
    await journal.close()
    await (await Journal.open(journal_path, RULES)).close()


@pytest.fixture
def broken(journal_path: Path) -> Path:
    journal_path.write_bytes(b"this is no database, whatever its name says" * 100)
    return journal_path


async def test_a_journal_that_cannot_be_opened_is_not_kept_locked(broken: Path) -> None:
    with pytest.raises(JournalError, match=r"listener\.db.*not a database"):
        await Journal.open(broken, RULES)
    OwnerLock(broken).release()


def test_two_journals_in_one_folder_have_two_owners(tmp_path: Path) -> None:
    one, two = OwnerLock(tmp_path / "one.db"), OwnerLock(tmp_path / "two.db")
    one.release()
    two.release()


def test_a_shorter_process_id_leaves_no_digits_of_a_longer_one(journal_path: Path) -> None:
    journal_path.with_name("listener.db.lock").write_text("99999999999\n")
    lock = OwnerLock(journal_path)
    assert journal_path.with_name("listener.db.lock").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"nowhere/listener\.db: No such file or directory"):
        OwnerLock(tmp_path / "nowhere" / "listener.db")


def test_a_child_of_the_owner_does_not_own_it(journal_path: Path) -> None:
    """A child process that outlives the daemon must not keep the journal locked."""
    lock = OwnerLock(journal_path)
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    lock.release()
    OwnerLock(journal_path).release()
    child.communicate()
