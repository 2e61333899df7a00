"""
The CID that IPFS gives a file: content cut into chunks, in a balanced tree of UnixFS nodes (dag-pb).

The forms of protobuf are written by hand: https://ipld.io/specs/codecs/dag-pb/spec/ and
https://github.com/ipfs/specs/blob/main/UNIXFS.md.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from listener.proofs.cid import DAG_PB, RAW, Cid

_FILE = 2  # UnixFS's type of a file, and of a piece of one


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is cut: bytes of a chunk, and how many children a node has at most."""

    chunk_bytes: int = 262_144
    children: int = 174


KUBO = Layout()  # the default of kubo, of Pinata, and of the JavaScript importers
LAYOUTS = (KUBO, Layout(1_048_576, 1024))  # the second: the profile unixfs-v1-2025


@dataclass(frozen=True, slots=True)
class _Node:
    cid: Cid
    content_bytes: int  # of the file below it
    total_bytes: int  # of its block and all blocks below, as a link tells it


def cid_of(content: bytes, version: int, *, raw_leaves: bool | None = None, layout: Layout = KUBO) -> Cid:
    """
    Give the CID of a file with this content.

    Args:
        content: its bytes.
        version: 0 or 1.
        raw_leaves: whether chunks are blocks as they are; None: as ``ipfs add`` has it, with version 1 alone.
        layout: how it is cut.
    """
    raw = version == 1 if raw_leaves is None else raw_leaves
    level = [_leaf(chunk, version, raw=raw) for chunk in _chunks(content, layout.chunk_bytes)]
    if version == 0 and raw and len(level) == 1:
        return Cid(1, RAW, level[0].cid.digest)  # a raw block has no CIDv0
    while len(level) > 1:
        level = [
            _parent(level[first : first + layout.children], version) for first in range(0, len(level), layout.children)
        ]
    return level[0].cid


def matches(content: bytes, cid: Cid) -> bool:
    """Tell whether content is what a CID names, however IPFS's tools may have cut it."""
    if cid.codec == RAW:
        return hashlib.sha256(content).digest() == cid.digest
    return any(
        cid_of(content, cid.version, raw_leaves=raw, layout=layout).digest == cid.digest
        for layout in LAYOUTS
        for raw in (False, True)
    )


def _chunks(content: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, max(len(content), 1), size):
        yield content[start : start + size]


def _leaf(chunk: bytes, version: int, *, raw: bool) -> _Node:
    if raw:
        return _Node(Cid(1, RAW, hashlib.sha256(chunk).digest()), len(chunk), len(chunk))
    data = _bytes(2, chunk) if chunk else b""
    return _node(b"", _number(1, _FILE) + data + _number(3, len(chunk)), version, len(chunk), 0)


def _parent(children: Sequence[_Node], version: int) -> _Node:
    size = sum(child.content_bytes for child in children)
    sizes = b"".join(_number(4, child.content_bytes) for child in children)
    links = b"".join(_link(child) for child in children)
    below = sum(child.total_bytes for child in children)
    return _node(links, _number(1, _FILE) + _number(3, size) + sizes, version, size, below)


def _link(child: _Node) -> bytes:
    name = b"\x12\x00"  # empty, and yet there
    return _bytes(2, _bytes(1, _binary(child.cid)) + name + _number(3, child.total_bytes))


def _binary(cid: Cid) -> bytes:
    return (b"" if cid.version == 0 else bytes([1, cid.codec])) + b"\x12\x20" + cid.digest


def _node(links: bytes, data: bytes, version: int, content_bytes: int, below_bytes: int) -> _Node:
    block = links + _bytes(1, data)  # dag-pb writes its links first, whatever their number
    digest = hashlib.sha256(block).digest()
    return _Node(Cid(version, DAG_PB, digest), content_bytes, len(block) + below_bytes)


def _number(field: int, value: int) -> bytes:
    return bytes([field << 3]) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
