"""The committed artifacts are what the committed sources compile to."""

import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
ARTIFACTS = (
    *(f"listener/devnet/artifacts/{path.name}" for path in sorted(PROJECT.glob("listener/devnet/artifacts/*.json"))),
    "abi/DomainRegistry.json",
    "abi/IntentSender.json",
)
NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="the compiler runs on node")
def test_compiling_again_gives_the_committed_files_byte_for_byte(tmp_path: Path) -> None:
    assert NODE is not None
    script = PROJECT / "listener/devnet/contracts/compile.mjs"
    subprocess.run([NODE, script, tmp_path], check=True, capture_output=True)  # noqa: S603 - our own script
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.json")}
    assert made == set(ARTIFACTS)
    for name in ARTIFACTS:
        assert (tmp_path / name).read_bytes() == (PROJECT / name).read_bytes(), f"{name}: run `make contracts`"
