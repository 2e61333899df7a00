"""``listener check --offline`` says where the proof store is wrong."""

from pathlib import Path

import pytest

from listener.cli.preflight import Finding, findings
from listener.config import load


def proofs(folder: Path, table: str, *, require_key: bool = False, performs: bool = True) -> list[Finding]:
    (folder / "config.toml").write_text(table)
    found = findings(folder / "config.toml", {}, require_key=require_key, performs=performs)
    return [each for each in found if each.check in ("proofs", "config", "key")][1:]


def test_nothing_is_said_where_nothing_is_written_and_nothing_is_wrong(tmp_path: Path) -> None:
    assert proofs(tmp_path, "") == []


def test_where_proofs_are_kept_is_said(tmp_path: Path) -> None:
    (line,) = proofs(tmp_path, '[proofs]\ngateways = ["https://gateway.example/ipfs/", "http://h?token=s3cret"]')
    assert line.status == "ok"
    assert line.detail == f"local: {tmp_path}/proofs; gateways: https://gateway.example/ipfs/, http://h?…"
    (line,) = proofs(tmp_path, '[proofs]\nbackend = "kubo"')
    assert line.detail == "kubo: http://127.0.0.1:5001; gateways: none"


@pytest.mark.parametrize("name", ["file", "file/proofs", "/proc/proofs"])
def test_a_folder_that_cannot_be_written_fails(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (line,) = proofs(tmp_path, f'[proofs]\nfolder = "{name}"')
    assert (line.status, line.check) == ("failed", "proofs")
    assert line.remedy
    (line,) = proofs(tmp_path, f'[proofs]\nfolder = "{name}"', performs=False)  # an attester writes none
    assert line.status == "ok"


def test_a_key_of_pinata_that_is_not_there_is_a_warning_offline_and_a_failure_else(tmp_path: Path) -> None:
    table = '[proofs]\nbackend = "pinata"\ntoken = { env = "PINATA_JWT" }'
    (line,) = proofs(tmp_path, table)
    assert (line.status, line.check) == ("warning", "proofs")
    assert line.problem.endswith("proofs.token: environment variable PINATA_JWT is not set; export PINATA_JWT=…")
    found = list(findings(tmp_path / "config.toml", {}, require_key=True))
    assert [(each.status, each.check) for each in found] == [("failed", "config")]
    (line,) = proofs(tmp_path, table, require_key=True, performs=False)  # an attester needs none
    assert line.status == "ok"
    assert load(tmp_path / "config.toml", {"PINATA_JWT": "a-long-word"}, performs=False).proofs.token is None
