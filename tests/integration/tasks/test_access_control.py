"""Access control from end to end: real contracts, the daemon, and a judge of what it signed."""

import dataclasses
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from asking import ask, ready
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from following import attending, following, write_config
from test_operators import deployed

from listener.devnet.accounts import ACCOUNTS
from listener.devnet.aggregator import Aggregator
from listener.devnet.anvil import Anvil
from tasks.access_roles import merkle_root

USER, POOR, THIRD = (account.address for account in ACCOUNTS[5:8])
LARGE = 10**30
REQUIREMENT = """
[[rules]]
name = "access"
task = "tasks.access_control"
task_definition_id = 9
trigger = {{ type = "http" }}
settings = {{ mode = "requirement", contract = "{protocol}", max_age_blocks = 20 }}
max_attempts = 1
"""
ROLES = """
[[rules]]
name = "listed"
task = "tasks.access_control"
task_definition_id = 10
trigger = {{ type = "block" }}
settings = {{ mode = "roles", contract = "{listed}", role = "MINTER_ROLE" }}
[[rules]]
name = "replayed"
task = "tasks.access_control"
task_definition_id = 11
trigger = {{ type = "block" }}
settings = {{ mode = "roles", contract = "{replayed}", role = "MINTER_ROLE", from_block = 1, range_blocks = 3 }}
"""
MINTER = keccak(text="MINTER_ROLE")


async def transact(anvil: Anvil, contract: str, signature: str, *arguments: Any) -> None:
    types = signature[signature.index("(") + 1 : -1].split(",")
    await anvil.receipt(await anvil.send(contract, keccak(text=signature)[:4] + encode(types, arguments)))


async def add_method(anvil: Anvil, protocol: str, entry: tuple[Any, ...]) -> None:
    struct = "(string,address,string,string[],string[])"
    await anvil.receipt(await anvil.send(protocol, keccak(text=f"addMethod({struct})")[:4] + encode([struct], [entry])))


def request(user: str, entry: tuple[Any, ...]) -> dict[str, Any]:
    """What the public example's clients send, an ABI of their own included."""
    fields = dict(zip(("chainId", "contractAddress", "method", "params", "requirement"), entry, strict=True))
    return {"taskDefinitionId": 9, "userAddress": user, "contractABI": "[]", **fields}


@dataclasses.dataclass
class Judge:
    """Asks for a verdict on what was accepted, changed or not."""

    url: str

    async def says(self, call: Any, **changed: Any) -> bool:
        body = {
            "proofOfTask": call.proof_of_task,
            "data": f"0x{call.data.hex()}",
            "taskDefinitionId": call.task_definition_id,
            "performer": call.performer,
        }
        status, answer = await ask(self.url, "/task/validate", method="POST", json={**body, **changed})
        assert status == 200, answer
        approved: bool = answer["data"]
        return approved


async def test_a_user_is_admitted_by_what_the_contracts_say_at_the_block_and_not_by_what_he_says(
    anvil: Anvil, aggregator: Aggregator, tmp_path: Path
) -> None:
    protocol, scores = await deployed(anvil, "AccessProtocol"), await deployed(anvil, "Scores")
    rich = ("31337", scores, "balanceOf(address)", ["<UA>"], ["GTE", str(LARGE)])
    below = ("31337", scores, "scoreOf(address,uint256)(int256)", ["<UA>", "7"], ["LT", "0"])
    for entry in (rich, below):
        await add_method(anvil, protocol, entry)
    await transact(anvil, scores, "setBalance(address,uint256)", USER, LARGE)
    await transact(anvil, scores, "setBalance(address,uint256)", POOR, LARGE - 1)
    await transact(anvil, scores, "setScore(address,uint256,int256)", USER, 7, -1)
    rules = REQUIREMENT.format(protocol=protocol)
    config = write_config(tmp_path, [anvil.ws_url], rules, aggregator=aggregator.url)
    async with following(config) as daemon, AsyncExitStack() as stack:
        await ready(daemon.url)

        async def asked(user: str, entry: tuple[Any, ...]) -> tuple[int, dict[str, Any]]:
            body = request(user, entry)
            return await ask(daemon.url, "/task/execute?wait=true", method="POST", json=body)

        for entry in (rich, below):
            status, answer = await asked(USER, entry)
            assert (status, answer["data"]["data"]) == (200, f"0x{encode(['address'], [USER]).hex()}"), answer
        status, answer = await asked(POOR, rich)
        assert (status, answer["data"]) == (200, None)
        assert answer["message"] == "task 3 is skipped: nothing to do"
        status, answer = await asked(POOR, (*rich[:4], ["GTE", "0"]))
        assert status == 500
        assert "has no such requirement at block" in answer["message"]
        status, answer = await ask(daemon.url, "/task/execute", method="POST", json={"taskDefinitionId": 9})
        assert status == 400

        first, second = aggregator.accepted
        await transact(anvil, scores, "setBalance(address,uint256)", USER, 0)
        (tmp_path / "attester").mkdir()
        gateway = f'[proofs]\ngateways = ["{daemon.url}/ipfs/"]\n'
        attester = write_config(tmp_path / "attester", [anvil.ws_url], rules, more=gateway)
        judge = Judge(await stack.enter_async_context(attending(attester)))
        assert await judge.says(first)
        assert await judge.says(second)
        assert not await judge.says(first, data=f"0x{encode(['address'], [POOR]).hex()}")
        assert not await judge.says(first, data="0x")
        assert not await judge.says(first, proofOfTask=first.proof_of_task[:-1])
        await anvil.mine(20)
        await daemon.walked(await anvil.head())
        assert not await judge.says(first, data=f"0x{encode(['address'], [USER]).hex()}", performer=POOR), (
            "it is too old"
        )


async def test_the_members_of_a_role_are_published_at_each_block_listed_or_replayed(
    anvil: Anvil, aggregator: Aggregator, tmp_path: Path
) -> None:
    listed, replayed = await deployed(anvil, "EnumerableRoles"), await deployed(anvil, "Roles")
    for contract in (listed, replayed):
        for member in (USER, POOR, THIRD):
            await transact(anvil, contract, "grantRole(bytes32,address)", MINTER, member)
        await transact(anvil, contract, "revokeRole(bytes32,address)", MINTER, POOR)
    before = await anvil.head()
    rules = ROLES.format(listed=listed, replayed=replayed)
    start = f"start = {before}"
    config = write_config(tmp_path, [anvil.ws_url], rules, aggregator=aggregator.url, chain=start)
    async with following(config, attests=True) as daemon:
        await daemon.until(lambda: len(aggregator.accepted) == 2)
        for contract in (listed, replayed):
            await transact(anvil, contract, "grantRole(bytes32,address)", MINTER, POOR)
        await daemon.until(lambda: len(aggregator.accepted) == 6)
        published = {
            (call.task_definition_id, int.from_bytes(call.data[64:96])): call.data for call in aggregator.accepted
        }
        two, three = merkle_root([USER, THIRD]), merkle_root([USER, POOR, THIRD])
        roots = {
            (10, before): two,
            (11, before): two,
            (10, before + 1): three,
            (11, before + 1): two,
            (10, before + 2): three,
            (11, before + 2): three,
        }
        assert published == {
            key: encode(["bytes32", "bytes32", "uint64"], [MINTER, root, key[1]]) for key, root in roots.items()
        }
        judge = Judge(daemon.url)
        for call in aggregator.accepted:
            assert await judge.says(call)
            assert not await judge.says(call, data=f"0x{call.data[:-1].hex()}00")
            assert not await judge.says(call, taskDefinitionId=21 - call.task_definition_id), "another rule's"
