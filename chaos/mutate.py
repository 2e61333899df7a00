"""
``python -m chaos.mutate``: take out one protection after the other, in a copy, and see that a test fails each time.

The protections are in ``mutations.toml``. A protection that no test misses when it is gone is a hole in the suite.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PROJECT = Path(__file__).parents[1]
LIST = Path(__file__).with_name("mutations.toml")
COPIED = ("abi", "chaos", "docs", "listener", "tasks", "tests", "config.toml", "package.json", "pyproject.toml")
LINKED = (".venv", "node_modules")
TIMEOUT_S = 300  # a daemon without one of its protections may hang
FAILED, PASSED = 1, 0  # exit codes of pytest
_NAME = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)

Verdict = Literal["caught", "hung", "missed", "broken"]


@dataclass(frozen=True, slots=True)
class Edit:
    """One place in a file, and what is put there."""

    file: str
    find: str
    put: str


@dataclass(frozen=True, slots=True)
class Mutation:
    """A protection, the edits that take it out, and the tests that must notice."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


def mutations() -> list[Mutation]:
    """Read the list."""
    tables = tomllib.loads(LIST.read_text())["mutation"]
    return [
        Mutation(table["name"], tuple(Edit(**edit) for edit in table["edits"]), tuple(table["tests"]))
        for table in tables
    ]


def mutated(mutation: Mutation, root: Path = PROJECT) -> dict[str, str]:
    """
    Return the files that a mutation changes, as they are then.

    Raises:
        ValueError: what is to be taken out does not stand there exactly once.
    """
    texts: dict[str, str] = {}
    for edit in mutation.edits:
        text = texts.get(edit.file) or (root / edit.file).read_text()
        if text.count(edit.find) != 1:
            raise ValueError(f'"{mutation.name}": {edit.file} holds {text.count(edit.find)} times: {edit.find}')
        texts[edit.file] = text.replace(edit.find, edit.put)
    return texts


def main() -> int:
    """Run what was asked for; 0 where each mutation was noticed."""
    parser = argparse.ArgumentParser(prog="python -m chaos.mutate", description="Take out protections, one by one.")
    parser.add_argument("words", nargs="*", help="only those whose name holds one of these")
    parser.add_argument("--tests", nargs="+", help="run these in place of those in the list")
    parser.add_argument("--list", action="store_true", help="show them and end")
    options = parser.parse_args()
    chosen = [each for each in mutations() if not options.words or any(word in each.name for word in options.words)]
    if options.list:
        sys.stdout.writelines(f"{each.name}\n" for each in chosen)
        return 0
    if not options.tests and not _is_sound(sorted({test for each in chosen for test in each.tests})):
        sys.stderr.write("mutate: a test fails though nothing was taken out; mend it first\n")
        return 1
    good = True
    for number, mutation in enumerate(chosen, 1):
        begun = time.monotonic()
        verdict, test = try_out(mutation, options.tests or mutation.tests)
        good = good and verdict in {"caught", "hung"}
        took_s = round(time.monotonic() - begun)
        sys.stdout.write(f"{number}/{len(chosen)} {verdict:6} {took_s:4} s  {mutation.name}: {test}\n")
        sys.stdout.flush()
    return 0 if good else 1


def try_out(mutation: Mutation, tests: Sequence[str]) -> tuple[Verdict, str]:
    """Run tests over a mutated copy; return what came of it, and the test that failed or what was said."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        root = _copy(Path(folder))
        for file, text in mutated(mutation).items():
            (root / file).write_text(text)
        return _run(root, tests)


def _is_sound(tests: Sequence[str]) -> bool:
    """Run the tests over a copy as it is; once more where one fails, for a machine may be busy."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        root = _copy(Path(folder))
        for _ in range(3):
            verdict, said = _run(root, tests)
            if verdict == "missed":
                return True
            sys.stderr.write(f"mutate: with nothing taken out: {verdict}: {said}\n")
        return False


def _copy(root: Path) -> Path:
    for name in COPIED:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)
    for name in LINKED:
        (root / name).symlink_to((PROJECT / name).resolve())
    return root


def _run(root: Path, tests: Sequence[str]) -> tuple[Verdict, str]:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=no", *tests]
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - ours
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return "hung", f"no end within {TIMEOUT_S} s"
    if done.returncode == FAILED:
        return "caught", ", ".join(_NAME.findall(done.stdout)) or "a test that gave no name"
    if done.returncode == PASSED:
        return "missed", f"all of {', '.join(tests)} passed"
    return "broken", (done.stdout + done.stderr)[-1000:]


if __name__ == "__main__":
    sys.exit(main())
