"""The README's example of an attester does what docs/attesting.md asks of one."""

from pathlib import Path
from typing import Any

import pytest

from listener import Claim
from listener.testing import claim_context

README = Path(__file__).parents[3] / "README.md"
PERFORMER = "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720"


def example() -> dict[str, Any]:
    source = README.read_text().partition("cat > balance.py <<'END'\n")[2].partition("\nEND\n")[0]
    names: dict[str, Any] = {"__name__": "balance"}
    exec(compile(source, "balance.py", "exec"), names)  # noqa: S102 -- our own page
    return names


HASH = "0x" + "a" * 64


@pytest.mark.parametrize(
    "proof", ["nonsense", "", "+", f"-1+{HASH}", f"1_0+{HASH}", "9" * 5000 + f"+{HASH}", "12", "12+0x"]
)
async def test_the_example_rejects_a_proof_that_does_not_fit(proof: str) -> None:
    claim = Claim(proof, b"", 3, PERFORMER)
    verdict = await example()["validate"](claim_context(claim), claim)
    assert (verdict.approved, verdict.reason) == (False, "the proof is not BLOCK+0xHASH")


async def test_the_example_looks_for_the_block_of_a_proof_that_fits() -> None:
    claim = Claim(f"12+{HASH}", b"", 3, PERFORMER)
    verdict = await example()["validate"](claim_context(claim), claim)
    assert (verdict.approved, verdict.reason) == (False, "the chain says something else")
