"""The process takes as many descriptors as it may without being asked, and no others."""

import resource
import subprocess
import sys

import pytest

from listener import descriptors


def limits_after(soft: int, hard: int) -> str:
    """Raise the limit in a process of its own."""
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        "from listener import descriptors; descriptors.raise_limit()\n"
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE), descriptors.allowed())"
    )
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603


@pytest.mark.parametrize(("soft", "hard", "found"), [(256, 1024, "1024 1024 1024"), (512, 512, "512 512 512")])
def test_the_soft_limit_is_raised_to_the_hard_one(soft: int, hard: int, found: str) -> None:
    assert limits_after(soft, hard) == found


def test_it_asks_for_no_more_than_is_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (1024, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", lambda _kind, limits: asked.append(limits))
    descriptors.raise_limit()
    assert asked == [(descriptors.ENOUGH, resource.RLIM_INFINITY)]
