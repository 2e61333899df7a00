"""``listener check`` looks at the journal that is there."""

from pathlib import Path

from listener.cli.preflight import Finding, _journal
from listener.config import load
from listener.journal import held
from listener.journal.database import open_engine, upgrade


def findings(folder: Path) -> list[Finding]:
    (folder / "config.toml").touch()
    return list(_journal(load(folder / "config.toml", {})))


def test_a_journal_that_is_not_there_is_no_news(tmp_path: Path) -> None:
    assert findings(tmp_path) == []
    assert not (tmp_path / "listener.db").exists()


def test_a_journal_that_is_whole_is_well_and_one_that_is_held_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "listener.db"
    engine = open_engine(path)
    upgrade(engine)
    assert findings(tmp_path) == [Finding("ok", "journal", f"{path}: whole")]
    with engine.begin() as connection:
        held.hold(connection, "from a backup")
    (found,) = findings(tmp_path)
    assert (found.status, found.detail) == ("warning", f"{path}: whole, and held from a backup")
    assert "--resume-at" in (found.remedy or "")


def test_an_empty_file_is_a_journal_that_is_still_to_be_made(tmp_path: Path) -> None:
    (tmp_path / "listener.db").touch()
    assert [found.status for found in findings(tmp_path)] == ["ok"]
    assert (tmp_path / "listener.db").stat().st_size == 0


def test_a_file_that_is_no_journal_is_a_failure_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "listener.db").write_bytes(b"something else" * 500)
    (found,) = findings(tmp_path)
    assert found.status == "failed"
    assert "not a database" in found.detail
    assert "restore a backup" in (found.remedy or "")
