"""
Who has a role of an OpenZeppelin AccessControl contract, and the Merkle root of them, for ``tasks.access_control``.

The root is that of OpenZeppelin's StandardMerkleTree of ``["address"]`` with the members by ascending address
(``sortLeaves: false``), so that its JavaScript makes proofs and its MerkleProof.sol verifies them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from eth_abi.abi import encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from listener import TaskContext
from tasks.access_reading import AT_ONCE, At, NodeTrouble, ask, block_at, word

T = TypeVar("T")

GRANTED = "0x" + keccak(text="RoleGranted(bytes32,address,address)").hex()
REVOKED = "0x" + keccak(text="RoleRevoked(bytes32,address,address)").hex()
EMPTY = bytes(32)  # the root of nobody; no members have it


def merkle_root(members: Sequence[str]) -> bytes:
    """
    Give the root of a complete binary tree over the members, who are sorted first.

    A leaf is ``keccak256(keccak256(abi.encode(member)))``, a node the hash of its two children, the smaller one first.
    """
    leaves = [keccak(keccak(encode(["address"], [each]))) for each in in_order(members)]
    if not leaves:
        return EMPTY
    # A heap: the children of place n are at 2n + 1 and 2n + 2; the leaves are its last places, backwards.
    tree = [b""] * (len(leaves) - 1) + leaves[::-1]
    for place in range(len(leaves) - 2, -1, -1):
        tree[place] = keccak(b"".join(sorted((tree[2 * place + 1], tree[2 * place + 2]))))
    return tree[0]


def in_order(members: Sequence[str]) -> list[str]:
    """Sort addresses by their value, checksummed."""
    return sorted(map(to_checksum_address, members), key=lambda each: int(each, 16))


@dataclass(frozen=True, slots=True)
class RoleAt:
    """A role of a contract at a block."""

    ctx: TaskContext[Any]
    at: At
    contract: str
    role: bytes

    async def listed(self, most: int) -> list[str]:
        """
        Read the members, in order, from a contract that lists them (AccessControlEnumerable).

        Raises:
            ValueError: there are more than ``most``, or what is listed is no set of accounts.
        """
        count = await self._word("getRoleMemberCount(bytes32)")
        if count > most:
            raise ValueError(f"the role has {count} members; settings.max_members is {most}")
        found = await _each(range(count), lambda place: self._word("getRoleMember(bytes32,uint256)", place))
        if len(set(found)) != count or any(each >> 160 for each in found):
            raise ValueError(
                f"{self.contract} lists a member twice, or what is no address; is it AccessControlEnumerable?"
            )
        return in_order([f"0x{each:040x}" for each in found])

    async def replayed(self, from_block: int, width: int, most: int) -> list[str]:
        """
        Find the members, in order, from the events since ``from_block``, and ask the contract about each of them.

        Args:
            from_block: the block of the contract's creation, or an earlier one.
            width: blocks of one question; it is halved where a node refuses.
            most: members.

        Raises:
            ValueError: the events contradict each other or the contract, so that some are missing; or there are more.
        """
        if from_block > self.at.number:
            raise ValueError(f"settings.from_block = {from_block} is above block {self.at.number}")
        members: set[str] = set()
        for first in range(from_block, self.at.number + 1, width):
            for log in await self._logs(first, min(first + width - 1, self.at.number)):
                _apply(log, members)
        if await block_at(self.ctx, self.at.number) != self.at:
            raise ValueError(f"block {self.at.number} was replaced while its events were read")
        if len(members) > most:
            raise ValueError(f"the role has {len(members)} members; settings.max_members is {most}")
        ordered = in_order(list(members))
        held = await _each(ordered, lambda member: self._word("hasRole(bytes32,address)", member))
        if not all(each == 1 for each in held):
            raise ValueError(f"{self.contract} denies a role that its events grant: a node left events out")
        return ordered

    async def _word(self, signature: str, *arguments: Any) -> int:
        return await word(self.ctx, self.at, self.contract, signature, self.role, *arguments)

    async def _logs(self, first: int, last: int) -> list[dict[str, Any]]:
        """Read the events of a range in chain order; where a node refuses it, its halves."""
        query = {
            "address": self.contract,
            "topics": [[GRANTED, REVOKED], f"0x{self.role.hex()}"],
            "fromBlock": hex(first),
            "toBlock": hex(last),
        }
        try:
            found = await ask(self.ctx, "latest", "eth_getLogs", query)
        except NodeTrouble:
            if first == last:
                raise
            middle = (first + last) // 2
            return [*await self._logs(first, middle), *await self._logs(middle + 1, last)]
        kept = [log for log in found if not log.get("removed")]
        return sorted(kept, key=lambda log: (int(log["blockNumber"], 16), int(log["logIndex"], 16)))


def _apply(log: dict[str, Any], members: set[str]) -> None:
    """Follow one event. The contract emits none that changes nothing: such a one means that others are missing."""
    member, granted = "0x" + log["topics"][2][-40:].lower(), log["topics"][0].lower() == GRANTED
    if granted == (member in members):
        what = "granted a role that it has" if granted else "revoked a role that it has not"
        raise ValueError(f"{member} was {what}: settings.from_block is too late, or a node left events out")
    (members.add if granted else members.remove)(member)


async def _each(subjects: Sequence[T], ask_about: Callable[[T], Awaitable[int]]) -> list[int]:
    found: list[int] = []
    for first in range(0, len(subjects), AT_ONCE):
        found += await asyncio.gather(*(ask_about(each) for each in subjects[first : first + AT_ONCE]))
    return found
