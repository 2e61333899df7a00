"""The root of a role's members is that of exactly these members at that block, listed or replayed."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from access_world import BLOCK, PROTOCOL, Refused, World, block_hash
from eth_abi.abi import encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from listener import Claim, TaskResult, Verdict
from listener.proofs.inline import Inline
from listener.testing import memory_proofs
from tasks.access_control import Body, Settings, execute, validate
from tasks.access_reading import NodeTrouble
from tasks.access_roles import EMPTY, GRANTED, REVOKED, merkle_root

SAMPLES = json.loads((Path(__file__).parents[2] / "samples/merkle/roots.json").read_text())
ROLE = keccak(text="MINTER_ROLE")
LISTED = Settings(mode="roles", contract=PROTOCOL, role="MINTER_ROLE")
REPLAYED = Settings(mode="roles", contract=PROTOCOL, role="MINTER_ROLE", from_block=3, range_blocks=4)
ADDRESSES = st.binary(min_size=20, max_size=20).map(to_checksum_address)
A, B, C = (to_checksum_address(bytes([number]) * 20) for number in (1, 2, 3))
PERFORMER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"


def listing(world: World, members: list[str]) -> None:
    world.views = {
        (PROTOCOL, "getRoleMemberCount(bytes32)"): lambda role: encode(["uint256"], [len(members) * (role == ROLE)]),
        (PROTOCOL, "getRoleMember(bytes32,uint256)"): lambda _role, place: encode(["address"], [members[place]]),
    }


def replaying(world: World, *changes: tuple[int, str, str], held: list[str] | None = None) -> None:
    """Emit (block, "+" or "-", member) in this order; the contract knows who is left, or ``held``."""
    members: set[str] = set()
    for index, (block, what, member) in enumerate(changes):
        (members.add if what == "+" else members.discard)(member)
        topics = [
            GRANTED if what == "+" else REVOKED,
            f"0x{ROLE.hex()}",
            f"0x{member[2:].lower():0>64}",
            "0x" + "00" * 32,
        ]
        world.logs.append({"blockNumber": hex(block), "logIndex": hex(index), "topics": topics, "removed": False})
    known = members if held is None else set(held)
    world.views = {
        (PROTOCOL, "hasRole(bytes32,address)"): lambda role, account: encode(
            ["bool"], [role == ROLE and to_checksum_address(account) in known]
        )
    }


def claim_of(result: TaskResult | None, **changed: Any) -> Claim:
    assert result is not None
    return dataclasses.replace(Claim(result.proof_of_task, result.data, 9, PERFORMER), **changed)


def test_the_root_is_that_of_openzeppelins_library() -> None:
    assert {len(each["members"]) for each in SAMPLES} >= {1, 2, 3, 8, 9, 33}
    for sample in SAMPLES:
        assert f"0x{merkle_root(sample['members']).hex()}" == sample["root"]


@settings(max_examples=40, deadline=None)
@given(members=st.lists(ADDRESSES, min_size=1, max_size=12, unique=True), data=st.data())
def test_the_root_depends_on_who_is_in_it_and_not_on_their_order(members: list[str], data: st.DataObject) -> None:
    root = merkle_root(members)
    assert merkle_root(data.draw(st.permutations(members))) == root
    assert merkle_root([each.lower() for each in members]) == root
    left_out = data.draw(st.sampled_from(members))
    assert merkle_root([each for each in members if each != left_out]) != root
    stranger = data.draw(ADDRESSES.filter(lambda each: each not in members))
    assert merkle_root([stranger if each == left_out else each for each in members]) != root
    assert merkle_root([*members, stranger]) != root


@settings(max_examples=40, deadline=None)
@given(members=st.lists(ADDRESSES, min_size=1, max_size=12, unique=True), data=st.data())
def test_each_member_can_be_proved_as_openzeppelins_verifier_does(members: list[str], data: st.DataObject) -> None:
    member = data.draw(st.sampled_from(members))
    level = [keccak(keccak(encode(["address"], [each]))) for each in sorted(members, key=str.lower)]
    tree = [b""] * (len(level) - 1) + level[::-1]
    for place in reversed(range(len(level) - 1)):
        tree[place] = keccak(min(tree[2 * place + 1 : 2 * place + 3]) + max(tree[2 * place + 1 : 2 * place + 3]))
    computed = keccak(keccak(encode(["address"], [member])))
    place = tree.index(computed, len(level) - 1)
    while place:
        sibling = tree[place + 1 if place % 2 else place - 1]
        computed = keccak(min(computed, sibling) + max(computed, sibling))
        place = (place - 1) // 2
    assert computed == merkle_root(members)


@pytest.mark.parametrize("members", [[], [B], [C, A, B]], ids=len)
async def test_listed_members_are_published_and_approved(members: list[str]) -> None:
    world, proofs = World(), memory_proofs()
    listing(world, members)
    ctx = world.execution(LISTED, proofs=proofs)
    result = await execute(ctx)
    assert result is not None
    root = merkle_root(members)
    assert result.data == encode(["bytes32", "bytes32", "uint64"], [ROLE, root, BLOCK])
    proof = await proofs.get(result.proof_of_task)
    assert (proof["members"], proof["root"]) == (sorted(members), f"0x{root.hex()}")
    assert (proof["blockNumber"], proof["blockHash"]) == (BLOCK, f"0x{block_hash(BLOCK).hex()}")
    assert world.read_at == {block_hash(BLOCK)}
    assert (root == EMPTY) == (members == [])
    claim = claim_of(result)
    assert await validate(world.claim(claim, LISTED, found=[ctx], proofs=proofs), claim) == Verdict.approve()


async def test_members_are_replayed_in_ranges_up_to_the_block() -> None:
    world, proofs = World(), memory_proofs()
    replaying(world, (3, "+", A), (4, "+", B), (7, "-", A), (8, "+", C), (12, "+", A), (12, "-", B))
    replayed = await execute(world.execution(REPLAYED, proofs=proofs))
    assert replayed is not None
    assert world.logs_asked == [(3, 6), (7, 10), (11, 12)]
    assert (await proofs.get(replayed.proof_of_task))["members"] == [A, C]
    listing(world, [C, A])
    assert await execute(world.execution(LISTED, proofs=proofs)) == replayed, "listed or replayed, it is the same role"


async def test_a_range_that_a_node_refuses_is_halved() -> None:
    world = World()
    replaying(world, (3, "+", A), (10, "+", B))
    whole = await execute(world.execution(REPLAYED))
    world.widest = 1
    assert await execute(world.execution(REPLAYED)) == whole
    world.widest = 0
    with pytest.raises(NodeTrouble, match="too wide"):
        await execute(world.execution(REPLAYED))


@pytest.mark.parametrize(
    ("changes", "held", "said"),
    [
        ([(4, "-", A)], [], "revoked a role that it has not"),
        ([(4, "+", A), (5, "+", A)], [A], "granted a role that it has"),
        ([(4, "+", A), (5, "+", B)], [A], "denies a role that its events grant"),
    ],
)
async def test_events_that_cannot_be_all_of_them_publish_nothing(
    changes: list[tuple[int, str, str]], held: list[str], said: str
) -> None:
    world = World()
    replaying(world, *changes, held=held)
    with pytest.raises(ValueError, match=said):
        await execute(world.execution(REPLAYED))


async def test_a_block_that_is_replaced_while_its_events_are_read_publishes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    replaying(world, (4, "+", A))
    original = world.at

    def at(block: Any) -> Any:
        if world.logs_asked:
            world.hashes[BLOCK] = b"\x07" * 32
        return original(block)

    monkeypatch.setattr(world, "at", at)
    with pytest.raises(ValueError, match="block 12 was replaced"):
        await execute(world.execution(REPLAYED))


@pytest.mark.parametrize("members", [[A, A], [A, "0x" + "11" * 32]], ids=["twice", "no address"])
async def test_a_list_that_is_no_set_of_accounts_publishes_nothing(members: list[str]) -> None:
    world = World()
    listing(world, members)
    word = (PROTOCOL, "getRoleMember(bytes32,uint256)")
    world.views[word] = lambda _role, place: bytes.fromhex(members[place][2:]).rjust(32, b"\0")
    with pytest.raises(ValueError, match="is it AccessControlEnumerable"):
        await execute(world.execution(LISTED))


async def test_more_members_than_the_settings_allow_publish_nothing() -> None:
    world = World()
    listing(world, [A, B, C])
    with pytest.raises(ValueError, match=r"has 3 members; settings\.max_members is 2"):
        await execute(world.execution(LISTED.model_copy(update={"max_members": 2})))
    replaying(world, (4, "+", A), (5, "+", B), (6, "+", C))
    with pytest.raises(ValueError, match=r"has 3 members; settings\.max_members is 2"):
        await execute(world.execution(REPLAYED.model_copy(update={"max_members": 2})))


async def test_a_contract_that_lists_no_members_and_a_node_in_trouble_publish_nothing() -> None:
    world = World()
    world.views = {}
    with pytest.raises(ValueError, match="answered 0 bytes, not one word"):
        await execute(world.execution(LISTED))

    def refused(*_arguments: Any) -> bytes:
        raise Refused("missing trie node")

    world.views = {(PROTOCOL, "getRoleMemberCount(bytes32)"): refused}
    with pytest.raises(NodeTrouble):
        await execute(world.execution(LISTED))


@settings(max_examples=40, deadline=None)
@given(place=st.integers(0, 10_000), by=st.integers(1, 127))
async def test_a_proof_with_any_byte_changed_is_rejected(place: int, by: int) -> None:
    world = World()
    listing(world, [A, B, C])
    ctx = dataclasses.replace(world.execution(LISTED), proofs=Inline(2**20))
    claim = claim_of(await execute(ctx))
    text = claim.proof_of_task.encode()
    place %= len(text)
    changed = text[:place] + bytes([(text[place] + by) % 128]) + text[place + 1 :]
    wrong = dataclasses.replace(claim, proof_of_task=changed.decode())
    judged = world.inside(dataclasses.replace(world.claim(wrong, LISTED, found=[ctx]), proofs=Inline(2**20)))
    assert (await validate(judged, wrong)).approved is False, changed


@pytest.mark.parametrize("what", ["role", "root", "block", "short", "long"])
async def test_data_that_is_not_what_was_read_is_rejected(what: str) -> None:
    world, proofs = World(), memory_proofs()
    listing(world, [A, B])
    ctx = world.execution(LISTED, proofs=proofs)
    result = await execute(ctx)
    assert result is not None
    flipped = bytearray(result.data)
    flipped[{"role": 31, "root": 63, "block": 95}.get(what, 0)] ^= 1
    data = {"short": result.data[:-1], "long": result.data + b"\0"}.get(what, bytes(flipped))
    claim = claim_of(result, data=data)
    assert (await validate(world.claim(claim, LISTED, found=[ctx], proofs=proofs), claim)).approved is False


# Settings


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mode": "roles"}, "role is missing"),
        ({"mode": "roles", "role": "minter"}, "a role's name in capitals"),
        ({"mode": "roles", "role": "0x12"}, "or its 32 bytes"),
        ({"mode": "roles", "role": "A", "chains": {"a": 1}}, 'chains: not of mode = "roles"'),
        ({"mode": "requirement", "from_block": 1}, 'from_block: not of mode = "requirement"'),
        ({"mode": "requirement", "role": "A"}, 'role: not of mode = "requirement"'),
        ({"mode": "requirement", "ask": {}}, "userAddress"),
        ({"mode": "other"}, "requirement"),
        ({"mode": "roles", "role": "A", "contract": "0x12"}, "should be an address"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Settings.model_validate({"contract": PROTOCOL, **given})


def test_a_role_goes_by_its_name_or_its_bytes() -> None:
    for given_as, role in (("MINTER_ROLE", ROLE), (f"0x{ROLE.hex()}", ROLE), ("DEFAULT_ADMIN_ROLE", bytes(32))):
        assert Settings(mode="roles", contract=PROTOCOL, role=given_as).role == role


async def test_a_trigger_that_the_mode_does_not_answer_is_named() -> None:
    body = Body.model_validate(
        {
            "userAddress": A,
            "chainId": "1",
            "contractAddress": B,
            "method": "f()",
            "params": [],
            "requirement": ["EQ", "1"],
        }
    )
    with pytest.raises(ValueError, match="mode roles answers no such trigger"):
        await execute(World().execution(LISTED, body))
