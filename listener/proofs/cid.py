"""
Content identifiers, as far as proofs need them: version 0 or 1, of a raw block or of a UnixFS file, hashed by SHA2-256.

https://github.com/multiformats/cid. Our own few lines: of the libraries for it none builds the files that are hashed,
and this is the smaller half.
"""

from dataclasses import dataclass

from listener.errors import ProofRejected
from listener.proofs.multibase import BASE58, from_digits, from_multibase, to_base32, to_base58

RAW, DAG_PB = 0x55, 0x70  # codecs
_SHA2_256 = b"\x12\x20"  # the hash, and its 32 bytes
_CODECS = {RAW: b"\x01\x55", DAG_PB: b"\x01\x70"}  # with the version in front
LONGEST = 128  # characters; the longest spelling of ours has 73


@dataclass(frozen=True, slots=True)
class Cid:
    """
    What a proof's content is known by.

    ``version`` is how it was written: the same file goes by ``Qm…`` (0) and by ``bafybei…`` (1).
    """

    version: int
    codec: int
    digest: bytes  # 32 bytes

    def __str__(self) -> str:
        """Write it as IPFS does: base58 where the version is 0, else base32."""
        return to_base58(_SHA2_256 + self.digest) if self.version == 0 else self.name

    @property
    def name(self) -> str:
        """The one spelling that all of its spellings share: version 1, base32. Letters and digits only."""
        return "b" + to_base32(_CODECS[self.codec] + _SHA2_256 + self.digest)


def parse(text: str) -> Cid:
    """
    Read a CID in any of its spellings; what stands around it, such as ``ipfs://``, is not taken off.

    Raises:
        ProofRejected: it is none, or of a kind that no proof has.
    """
    if len(text) > LONGEST:
        raise ProofRejected(f"the proof is no CID: it has {len(text)} characters")
    try:
        if len(text) == 46 and text.startswith("Qm"):
            return _version_0(from_digits(text, BASE58))
        return _version_1(from_multibase(text))
    except ProofRejected:
        raise
    except ValueError:
        raise ProofRejected(f"the proof is no CID: {text!r}") from None


def _version_0(found: bytes) -> Cid:
    if len(found) != 34 or not found.startswith(_SHA2_256):
        raise ValueError("not a SHA2-256 digest")
    return Cid(0, DAG_PB, found[2:])


def _version_1(found: bytes) -> Cid:
    codec = next((number for number, prefix in _CODECS.items() if found.startswith(prefix)), None)
    if codec is None:
        what = f"begins with 0x{found[:4].hex()}" if found[:1] == b"\x01" else "is not of version 1"
        raise ProofRejected(f"the proof is a CID that {what}; only raw (0x0155) and dag-pb (0x0170) are read")
    if not found.startswith(_SHA2_256, 2) or len(found) != 36:
        raise ProofRejected(f"the proof is a CID of another hash than SHA2-256: 0x{found[2:6].hex()}…")
    return Cid(1, codec, found[4:])
