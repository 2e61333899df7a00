"""The engine behind every hash: the quick one, unless the operator names another."""

import os
import subprocess
import sys

import pytest

# Of nothing, as the chain knows it from every account without code.
OF_NOTHING = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
HASHED = """
import sys
from listener import hashes
hashes.choose()
from eth_hash.auto import keccak
print(keccak(b"").hex(), *(name for name in ("_pysha3", "Crypto.Hash.keccak") if name in sys.modules))
"""


@pytest.mark.parametrize(("named", "loaded"), [(None, "_pysha3"), ("pycryptodome", "Crypto.Hash.keccak")])
def test_hashes_are_right_and_quick_unless_another_engine_is_named(named: str | None, loaded: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ETH_HASH_BACKEND"}
    if named is not None:
        environment["ETH_HASH_BACKEND"] = named
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", HASHED], capture_output=True, text=True, check=True, timeout=60, env=environment
    )
    assert done.stdout.split() == [OF_NOTHING, loaded]
