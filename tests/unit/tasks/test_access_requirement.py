"""A requirement is evaluated exactly, from what the chain says, and nothing else is approved."""

import dataclasses
import json
import operator
from typing import Any

import pytest
from access_world import BLOCK, ENTRY, PROTOCOL, SCORES, USER, Refused, World, block_hash
from eth_abi.abi import decode, encode
from hypothesis import given, settings
from hypothesis import strategies as st

from listener import Claim, ProofError, TaskResult, Verdict
from listener.proofs.inline import Inline
from listener.testing import memory_proofs
from tasks.access_control import Body, Settings, execute, validate
from tasks.access_reading import NodeTrouble, Unfit
from tasks.access_requirement import COMPARISONS, argument, signature

SETTINGS = Settings(mode="requirement", contract=PROTOCOL)
PERFORMER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
INTEGERS = st.integers(-(2**255), 2**256 - 1)
BYTES = st.binary(max_size=40)


def wanted(entry: Any = ENTRY, **changed: Any) -> Body:
    fields = dict(zip(("chainId", "contractAddress", "method", "params", "requirement"), entry, strict=True))
    return Body.model_validate({"userAddress": USER, **fields, **changed})


def claim_of(result: TaskResult | None, **changed: Any) -> Claim:
    assert result is not None
    return dataclasses.replace(Claim(result.proof_of_task, result.data, 9, PERFORMER), **changed)


async def answered(world: World, body: Body | None = None, settings: Settings = SETTINGS) -> TaskResult | None:
    return await execute(world.execution(settings, body or wanted()))


async def test_a_user_who_meets_the_requirement_is_named_in_the_data_and_all_of_it_in_the_proof() -> None:
    world, proofs = World(), memory_proofs()
    ctx = world.execution(SETTINGS, wanted(), proofs=proofs)
    result = await execute(ctx)
    assert result is not None
    assert result.data == encode(["address"], [USER])
    proof = await proofs.get(result.proof_of_task)
    abi = json.loads(proof.pop("contractABI"))
    assert proof == {
        "mode": "requirement",
        "task": ctx.key,
        "blockNumber": BLOCK,
        "blockHash": f"0x{block_hash(BLOCK).hex()}",
        "timestamp": 1_700_000_012,
        "protocol": PROTOCOL,
        "chainId": "31337",
        "contractAddress": SCORES,
        "method": "balanceOf(address)",
        "params": ["<UA>"],
        "userAddress": USER.lower(),
        "requirement": ["GTE", "100"],
        "value": "100",
    }
    assert (abi[0]["name"], abi[0]["inputs"], abi[0]["outputs"]) == (
        "balanceOf",
        [{"name": "", "type": "address"}],
        [{"name": "", "type": "uint256"}],
    )
    assert world.read_at == {block_hash(BLOCK)}, "all of it is read at one block, by its hash"
    assert await validate(world.claim(claim_of(result), SETTINGS, proofs=proofs), claim_of(result)) == Verdict.approve()


@settings(max_examples=40, deadline=None)
@given(
    value=INTEGERS,
    distance=st.integers(-2, 2),
    word=st.sampled_from(sorted(COMPARISONS)),
    kind=st.sampled_from(["int256", "uint256"]),
)
async def test_integers_of_any_size_are_compared_exactly(value: int, distance: int, word: str, kind: str) -> None:
    value %= 2**256
    value -= 2**256 if kind == "int256" and value >= 2**255 else 0
    names = {"LT": operator.lt, "LTE": operator.le, "EQ": operator.eq, "GTE": operator.ge, "GT": operator.gt}
    world = World()
    entry = ("31337", SCORES, f"balanceOf(address)({kind})", ("<UA>",), (word, str(value + distance)))
    world.entries = [entry]
    world.views[SCORES, "balanceOf(address)"] = lambda _user: encode([kind], [value])
    result = await answered(world, wanted(entry))
    assert (result is not None) == names[word](value, value + distance)


async def test_who_does_not_meet_it_gets_nothing_and_a_claim_of_it_is_rejected() -> None:
    world, proofs = World(), memory_proofs()
    result = await execute(world.execution(SETTINGS, wanted(), proofs=proofs))
    world.balance = lambda _user: 99
    assert await answered(world) is None
    claim = claim_of(result)
    verdict = await validate(world.claim(claim, SETTINGS, proofs=proofs), claim)
    assert verdict == Verdict.reject("the requirement is not met at that block")


@settings(max_examples=40, deadline=None)
@given(data=st.data())
async def test_arguments_are_encoded_as_their_types(data: st.DataObject) -> None:
    cases: list[tuple[str, Any, str]] = [
        *((f"uint{bits}", number := data.draw(st.integers(0, 2**bits - 1)), str(number)) for bits in (8, 64, 256)),
        *(
            (f"int{bits}", number := data.draw(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)), str(number))
            for bits in (8, 256)
        ),
        ("bool", flag := data.draw(st.booleans()), str(flag).lower()),
        ("bytes32", word := data.draw(st.binary(min_size=32, max_size=32)), f"0x{word.hex()}"),
        ("bytes", blob := data.draw(BYTES), f"0x{blob.hex()}"),
        ("string", text := data.draw(st.text(alphabet=st.characters(exclude_categories=["Cs"]))), text),
        ("address", USER.lower(), "<UA>"),
    ]
    chosen = data.draw(st.lists(st.sampled_from(cases), min_size=1, max_size=4))
    types = [kind for kind, _, _ in chosen]
    method = f"balanceOf({','.join(types)})"
    entry = ("31337", SCORES, method, tuple(text for _, _, text in chosen), ("EQ", "1"))
    world, seen = World(), []
    world.entries = [entry]
    world.views[SCORES, method] = lambda *values: (seen.append(values), encode(["uint256"], [1]))[1]
    assert await answered(world, Body.model_construct(**dict(wanted(entry)))) is not None
    assert seen == [tuple(value for _, value, _ in chosen)]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("uint256", "<UA>"),
        ("uint256", "1.0"),
        ("uint256", "0x10"),
        ("uint256", " 1"),
        ("uint256", "01"),
        ("uint256", "٣"),
        ("uint256", "1e3"),
        ("address", "0x12"),
        ("address", "me"),
        ("bool", "1"),
        ("bool", "True"),
        ("bytes4", "0x0102"),
        ("bytes4", "01020304"),
        ("bytes", "0x0"),
    ],
)
def test_an_argument_that_says_no_value_of_its_type_is_refused(kind: str, text: str) -> None:
    with pytest.raises(Unfit, match=f"is no {kind}"):
        argument(kind, text, USER)


@pytest.mark.parametrize(
    ("method", "read"),
    [
        ("balanceOf(address)", ("balanceOf", ["address"], "uint256")),
        ("scoreOf(address,uint256)(int256)", ("scoreOf", ["address", "uint256"], "int256")),
        ("scoreOf(address, uint)(int)", ("scoreOf", ["address", "uint256"], "int256")),
        ("total()(uint8)", ("total", [], "uint8")),
        ("isMember(address,bytes32)(bool)", ("isMember", ["address", "bytes32"], "bool")),
    ],
)
def test_a_signature_is_read_in_its_canonical_form(method: str, read: Any) -> None:
    assert signature(method) == read


@pytest.mark.parametrize(
    "method",
    [
        "balanceOf",
        "",
        "(address)",
        "balanceOf(address",
        "balanceOf(address)(string)",
        "balanceOf(address)(bytes32)",
        "balanceOf(address)(uint256,uint256)",
        "balanceOf(address[])",
        "balanceOf(address,)",
        "balanceOf(uint7)",
        "balanceOf(uint264)",
        "balanceOf(bytes33)",
        "balanceOf(address)\n",
        "f((uint256,address))",
    ],
)
async def test_what_is_no_signature_is_refused_and_what_claims_it_rejected(method: str) -> None:
    entry = ("31337", SCORES, method, ("<UA>",), ("GTE", "100"))
    world = World()
    world.entries = [entry]
    with pytest.raises(Unfit):
        await answered(world, wanted(entry))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (("1", *ENTRY[1:]), "of chain 1, and this rule reads chain 31337"),
        (("sepolia", *ENTRY[1:]), "of chain sepolia, and this rule reads chain 31337"),
        ((*ENTRY[:4], ("NE", "1")), "is not one of"),
        ((*ENTRY[:4], ("GT", "1.5")), "is not one of"),
        ((*ENTRY[:4], ("GT", "1e18")), "is not one of"),
        ((*ENTRY[:3], ("<UA>", "1"), ENTRY[4]), "takes 1 arguments, and the requirement has 2"),
        ((ENTRY[0], PROTOCOL, *ENTRY[2:]), "was reverted at block 12"),
        ((ENTRY[0], USER, *ENTRY[2:]), "answered 0 bytes that are no uint256"),
        ((*ENTRY[:2], "balanceOf(address)(uint8)", *ENTRY[3:]), "answered 32 bytes that are no uint8"),
    ],
)
async def test_a_listed_requirement_that_cannot_be_evaluated_is_refused_with_its_reason(entry: Any, said: str) -> None:
    world = World()
    world.entries, world.balance = [entry], lambda _user: 300
    with pytest.raises(Unfit, match=said):
        await answered(world, wanted(entry))


async def test_a_chain_may_go_by_a_name_that_the_settings_know() -> None:
    entry = ("devnet", *ENTRY[1:])
    world = World()
    world.entries = [entry]
    named = Settings(mode="requirement", contract=PROTOCOL, chains={"devnet": 31337})
    assert await answered(world, wanted(entry), named) is not None


@pytest.mark.parametrize(
    "changed",
    [
        {"chainId": "31338"},
        {"contractAddress": USER},
        {"method": "balanceOf(address)(uint256)"},
        {"params": [USER]},
        {"params": []},
        {"requirement": ["GTE", "0"]},
        {"requirement": ["LT", "100"]},
    ],
)
async def test_only_what_the_list_holds_at_that_block_counts(changed: dict[str, Any]) -> None:
    with pytest.raises(Unfit, match="has no such requirement at block 12"):
        await answered(World(), wanted(**changed))


async def test_an_entry_of_the_list_that_is_no_text_leaves_the_others_usable() -> None:
    world = World()
    raw = encode(
        ["(bytes,address,bytes,bytes[],bytes[])[]"],
        [
            [
                (b"\xff\xfe", USER, b"\xff", [], []),
                (b"31337", SCORES, b"balanceOf(address)", [b"<UA>"], [b"GTE", b"100"]),
            ]
        ],
    )
    world.views[PROTOCOL, "getWhitelistMethods()"] = lambda: raw
    assert await answered(world) is not None


def test_an_abi_of_the_requesters_is_not_kept() -> None:
    assert "contractABI" not in wanted(contractABI='[{"name":"balanceOf"}]').model_dump(by_alias=True)


@pytest.mark.parametrize(
    "changed", [{"userAddress": "0x12"}, {"userAddress": USER.replace("C", "c", 1)}, {"params": "x"}, {"params": [1]}]
)
def test_a_request_that_names_nobody_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changed))):
        wanted(**changed)


# Judged


async def inline_claim(world: World) -> tuple[Claim, Any]:
    """A claim whose proof is its own text, so that each byte of it can be changed."""
    ctx = dataclasses.replace(world.execution(SETTINGS, wanted()), proofs=Inline(2**20))
    return claim_of(await execute(ctx)), Inline(2**20)


@settings(max_examples=40, deadline=None)
@given(place=st.integers(0, 10_000), by=st.integers(1, 127))
async def test_a_proof_with_any_byte_changed_is_rejected(place: int, by: int) -> None:
    world = World()
    claim, inline = await inline_claim(world)
    text = claim.proof_of_task.encode()
    place %= len(text)
    changed = text[:place] + bytes([(text[place] + by) % 128]) + text[place + 1 :]
    wrong = dataclasses.replace(claim, proof_of_task=changed.decode())
    ctx = world.inside(dataclasses.replace(world.claim(wrong, SETTINGS), proofs=inline))
    verdict = await validate(ctx, wrong)
    own_key = text.index(b'"task":"') + 8
    if own_key <= place < own_key + 32 and chr(changed[place]) in "0123456789abcdef":
        return  # another request's proof, and as right as this one
    assert verdict.approved is False, changed


async def test_the_key_of_a_task_that_a_block_made_is_checked_too() -> None:
    world, proofs = World(), memory_proofs()
    asking = Settings(mode="requirement", contract=PROTOCOL, ask=wanted())
    ctx = world.execution(asking, proofs=proofs)
    result = await execute(ctx)
    claim = claim_of(result)
    assert await validate(world.claim(claim, asking, found=[ctx], proofs=proofs), claim) == Verdict.approve()
    proof = await proofs.get(claim.proof_of_task)
    other = dataclasses.replace(claim, proof_of_task=await proofs.put(proof | {"task": "ab" * 16}))
    verdict = await validate(world.claim(other, asking, found=[ctx], proofs=proofs), other)
    assert verdict == Verdict.reject("the task of block 12 has another key")
    verdict = await validate(world.claim(claim, asking, found=[], proofs=proofs), claim)
    assert verdict == Verdict.reject("the rule has no task at block 12")


@settings(max_examples=40, deadline=None)
@given(place=st.integers(0, 31), by=st.integers(1, 255))
async def test_data_with_any_byte_changed_is_rejected(place: int, by: int) -> None:
    world = World()
    claim, inline = await inline_claim(world)
    data = bytearray(claim.data)
    data[place] = (data[place] + by) % 256
    for wrong in (bytes(data), claim.data[:-1], claim.data + b"\0", b""):
        changed = dataclasses.replace(claim, data=wrong)
        ctx = world.inside(dataclasses.replace(world.claim(changed, SETTINGS), proofs=inline))
        assert (await validate(ctx, changed)).approved is False


@settings(max_examples=40, deadline=None)
@given(
    changed=st.fixed_dictionaries(
        {},
        optional={
            "value": st.sampled_from(["101", "0", 100]),
            "userAddress": st.just(PERFORMER.lower()),
            "blockNumber": st.sampled_from([11, 13, "12", 12.0, True, -1, None]),
            "blockHash": st.sampled_from(["0x" + "ab" * 32, "", None]),
            "timestamp": st.just(1),
            "mode": st.just("roles"),
            "protocol": st.just(SCORES),
            "contractABI": st.just("[]"),
            "extra": st.just(1),
            "requirement": st.just(["GTE", "1"]),
            "task": st.sampled_from(["", "AB" * 16, None, 1, "ab" * 17]),
        },
    ).filter(bool)
)
async def test_a_proof_that_says_anything_else_is_rejected_though_its_cid_fits(changed: dict[str, Any]) -> None:
    world, proofs = World(), memory_proofs()
    world.head = 20
    claim = claim_of(await execute(world.execution(SETTINGS, wanted(), proofs=proofs)))
    proof = await proofs.get(claim.proof_of_task) | changed
    try:
        other = dataclasses.replace(claim, proof_of_task=await proofs.put(proof))
    except ProofError:
        return  # a float, which no proof can hold
    assert (await validate(world.claim(other, SETTINGS, proofs=proofs), other)).approved is False


async def test_what_is_no_proof_is_rejected() -> None:
    world, proofs = World(), memory_proofs()
    claim = claim_of(await execute(world.execution(SETTINGS, wanted(), proofs=proofs)))
    for proof in (claim.proof_of_task[:-1], "", "12", await proofs.put([1]), await proofs.put(None)):
        wrong = dataclasses.replace(claim, proof_of_task=proof)
        assert (await validate(world.claim(wrong, SETTINGS, proofs=proofs), wrong)).approved is False


async def test_a_block_that_was_replaced_is_old_or_is_not_there_yet() -> None:
    world, proofs = World(), memory_proofs()
    claim = claim_of(await execute(world.execution(SETTINGS, wanted(), proofs=proofs)))
    hasty = Settings(mode="requirement", contract=PROTOCOL, max_age_blocks=5)
    ctx = world.claim(claim, hasty, proofs=proofs)
    later = await proofs.put(await proofs.get(claim.proof_of_task) | {"blockNumber": 92})
    verdict = await validate(ctx, dataclasses.replace(claim, proof_of_task=later))
    assert verdict == Verdict.reject("the block with the hash that the proof says is not block 92"), "no need to wait"
    world.head = BLOCK + 5
    assert await validate(ctx, claim) == Verdict.approve()
    world.head = BLOCK + 6
    assert await validate(ctx, claim) == Verdict.reject("block 12 is 6 blocks old, more than 5")
    world.head = BLOCK - 1
    with pytest.raises(ValueError, match="there is no block 12 yet"):
        await validate(ctx, claim)
    world.head, world.hashes[BLOCK] = BLOCK, b"\x07" * 32
    assert await validate(ctx, claim) == Verdict.reject("block 12 has another hash than the proof says")


async def test_a_node_in_trouble_makes_no_verdict() -> None:
    world, proofs = World(), memory_proofs()
    claim = claim_of(await execute(world.execution(SETTINGS, wanted(), proofs=proofs)))

    def refused(*_arguments: Any) -> bytes:
        raise Refused("missing trie node")

    for view in list(world.views):
        kept, world.views[view] = world.views[view], refused
        with pytest.raises(NodeTrouble, match="missing trie node"):
            await validate(world.claim(claim, SETTINGS, proofs=proofs), claim)
        world.views[view] = kept


async def test_a_rule_that_asks_itself_approves_what_it_asks_and_nothing_else() -> None:
    world, proofs = World(), memory_proofs()
    asking = Settings(mode="requirement", contract=PROTOCOL, ask=wanted())
    ctx = world.execution(asking, proofs=proofs)
    assert (await execute(ctx)) is not None
    other = world.execution(SETTINGS, wanted(userAddress=PERFORMER), proofs=proofs)
    claim = claim_of(await execute(other))
    verdict = await validate(world.claim(claim, asking, found=[ctx], proofs=proofs), claim)
    assert verdict == Verdict.reject("the proof is of another user or requirement than the rule asks for")
    with pytest.raises(ValueError, match=r"has no settings\.ask"):
        await execute(world.execution(asking, wanted(), proofs=proofs))
    with pytest.raises(ValueError, match="nobody is named"):
        await execute(world.execution(SETTINGS, proofs=proofs))


async def test_two_requests_of_one_block_have_proofs_of_their_own_and_a_repeated_attempt_the_same() -> None:
    world = World()
    ctx = world.execution(SETTINGS, wanted())
    first, again, second = [await execute(each) for each in (ctx, ctx, dataclasses.replace(ctx, key="ab" * 16))]
    assert first == again
    assert first is not None
    assert second is not None
    assert (first.data, first.proof_of_task != second.proof_of_task) == (second.data, True)
    assert decode(["address"], first.data) == (USER.lower(),)


async def test_where_the_block_of_a_request_was_replaced_the_one_in_its_place_is_read() -> None:
    world, proofs = World(), memory_proofs()
    ctx = world.execution(SETTINGS, wanted(), proofs=proofs, block_hash=b"\x07" * 32)
    claim = claim_of(await execute(ctx))
    assert (await proofs.get(claim.proof_of_task))["blockHash"] == f"0x{block_hash(BLOCK).hex()}"
    assert world.read_at == {block_hash(BLOCK)}
    assert await validate(world.claim(claim, SETTINGS, proofs=proofs), claim) == Verdict.approve()
    world.head = BLOCK - 1
    with pytest.raises(ValueError, match="there is no block 12; the endpoint may be behind"):
        await execute(ctx)
