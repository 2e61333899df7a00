"""The operators are read from a real chain, at the block that is asked for, whichever generation the contract is."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

import listener.devnet
from listener.chains import Chain
from listener.config.election import RoundRobin
from listener.devnet.accounts import ACCOUNTS
from listener.devnet.anvil import Anvil
from listener.election.election import RoundRobinElection
from listener.election.layout import NOBODY
from listener.election.moment import AttestationBlock
from listener.election.operators import Operators
from listener.errors import ChainUnavailable, ElectionFailed
from listener.model import Block
from listener.testing import context

ARTIFACTS = Path(listener.devnet.__file__).parent / "artifacts"
LISTS = ("AttestationCenter", "AttestationCenterWithoutKeys")
GENERATIONS = (*LISTS, "AttestationCenterWithoutList")
A, B, C, D = (account.address for account in ACCOUNTS[1:5])


class Reading:
    """A chain that counts the calls of contracts which go over it."""

    def __init__(self, chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
        self.chain = chain
        self.calls: list[Any] = []
        self.down = False
        call = chain.call

        async def count(method: str, params: list[Any]) -> Any:
            self.calls.append((method, params))
            if self.down:
                raise ChainUnavailable("it is down")
            return await call(method, params)

        monkeypatch.setattr(chain, "call", count)


@pytest.fixture
async def reading(anvil: Anvil, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reading]:
    async with aiohttp.ClientSession() as session:
        chain = Chain("l2", anvil.chain_id)
        chain.add(anvil.http_url, "anvil", session)
        async with chain.attended():
            yield Reading(chain, monkeypatch)


async def deployed(anvil: Anvil, name: str) -> str:
    return await anvil.deploy(json.loads((ARTIFACTS / f"{name}.json").read_bytes()))


async def change(anvil: Anvil, contract: str, what: str, *operators: str) -> None:
    for operator in operators:
        data = keccak(text=f"{what}(address)")[:4] + encode(["address"], [operator])
        await anvil.receipt(await anvil.send(contract, data))


async def at_head(anvil: Anvil) -> dict[str, str]:
    return {"blockHash": (await anvil.block("latest"))["hash"]}


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_the_active_operators_are_those_of_the_block_by_ascending_id(
    anvil: Anvil, reading: Reading, generation: str
) -> None:
    contract = await deployed(anvil, generation)
    operators = Operators(reading.chain, contract)
    assert await operators.active(await at_head(anvil)) == ()
    await change(anvil, contract, "register", A, B, C, D)
    first = await at_head(anvil)
    await change(anvil, contract, "unregister", B)
    without = await at_head(anvil)
    await change(anvil, contract, "register", B)  # under a new id; the old one is still in the books
    last = await at_head(anvil)
    assert await operators.active(last) == (A, C, D, B)
    assert await operators.active(without) == (A, C, D)
    assert await operators.active(first) == (A, B, C, D)


async def test_a_contract_without_a_list_may_have_many_operators(anvil: Anvil, reading: Reading) -> None:
    contract = await deployed(anvil, "AttestationCenterWithoutList")
    many = [f"0x{number:040x}" for number in range(1, 36)]
    await change(anvil, contract, "register", *many)
    await change(anvil, contract, "unregister", *many[10:20])
    found = await Operators(reading.chain, contract).active(await at_head(anvil))
    assert [each.lower() for each in found] == [*many[:10], *many[20:]]


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_an_id_is_elected_by_the_number_of_active_operators_registered_still_or_not(
    anvil: Anvil, reading: Reading, generation: str
) -> None:
    contract = await deployed(anvil, generation)
    operators = Operators(reading.chain, contract)
    assert await operators.of_id(await at_head(anvil), 3) == NOBODY
    await change(anvil, contract, "register", A, B, C, D)
    await change(anvil, contract, "unregister", A)
    at = await at_head(anvil)
    assert [await operators.of_id(at, turn) for turn in range(6)] == [A, B, C, A, B, C]


async def test_where_no_contract_or_another_one_stands_nothing_is_elected(anvil: Anvil, reading: Reading) -> None:
    before = await at_head(anvil)
    sender = await deployed(anvil, "IntentSender")
    center = await deployed(anvil, "AttestationCenter")
    at = await at_head(anvil)
    with pytest.raises(ElectionFailed, match=f"there is no contract at {center} on l2 at that block"):
        await Operators(reading.chain, center).active(before)
    with pytest.raises(ElectionFailed, match="none of the views that tell of operators"):
        await Operators(reading.chain, sender).active(at)
    with pytest.raises(ElectionFailed, match="none of the views that tell of operators"):
        await Operators(reading.chain, sender).of_id(at, 1)
    with pytest.raises(ElectionFailed, match="cannot be read"):
        await Operators(reading.chain, center).active({"blockHash": "0x" + "12" * 32})


async def test_a_thousand_tasks_of_a_block_make_one_read(anvil: Anvil, reading: Reading) -> None:
    contract = await deployed(anvil, "AttestationCenter")
    await change(anvil, contract, "register", A, B)
    operators, at = Operators(reading.chain, contract), await at_head(anvil)
    assert set(await asyncio.gather(*(operators.active(at) for _ in range(1000)))) == {(A, B)}
    assert len(reading.calls) == 1


async def test_a_read_that_failed_is_made_anew_and_who_goes_away_takes_none_along(
    anvil: Anvil, reading: Reading
) -> None:
    contract = await deployed(anvil, "AttestationCenter")
    await change(anvil, contract, "register", A, B)
    operators, at = Operators(reading.chain, contract), await at_head(anvil)
    reading.down = True
    failed = await asyncio.gather(*(operators.active(at) for _ in range(3)), return_exceptions=True)
    assert [str(each) for each in failed] == ["the operators cannot be read: it is down"] * 3
    reading.down = False
    gone, stays = (asyncio.ensure_future(operators.active(at)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays == (A, B)
    assert len(reading.calls) == 2


async def test_the_block_of_a_time_is_the_last_that_is_not_later_once_a_later_one_exists(
    anvil: Anvil, reading: Reading
) -> None:
    begun = int((await anvil.block("latest"))["timestamp"], 16)
    times = [begun + 10, begun + 11, begun + 50, begun + 50 + 3600, *(begun + 4000 + each for each in range(12))]
    for moment in times:
        await anvil.call("evm_setNextBlockTimestamp", moment)
        await anvil.mine()
    blocks = AttestationBlock(reading.chain)
    for moment in range(begun, begun + 4011):
        if moment % 97 == 0 or moment in times or moment + 1 in times:
            expected = 1 + max((place for place, time in enumerate(times) if time <= moment), default=-1)
            assert (await blocks.at(moment)).number == expected
    for moment in (times[-1], times[-1] + 1):
        with pytest.raises(ElectionFailed, match="no block yet that is later than the trigger's"):
            await blocks.at(moment)
    with pytest.raises(ElectionFailed, match="no block that is as old as the trigger's"):
        await blocks.at(begun - 1)


# Turns


async def test_what_no_block_made_is_elected_at_its_number_though_its_block_has_left(
    anvil: Anvil, reading: Reading
) -> None:
    contract = await deployed(anvil, "AttestationCenter")
    await change(anvil, contract, "register", A)
    head = int((await anvil.block("latest"))["number"], 16)
    trigger = context(block_number=head + 1, block_hash=b"\x12" * 32)  # a block that the chain does not hold
    await anvil.mine()
    operators, loop = Operators(reading.chain, contract), asyncio.get_running_loop()
    by_hash = RoundRobinElection(RoundRobin(), operators, None, loop, by_number=False)
    by_number = RoundRobinElection(RoundRobin(), operators, None, loop, by_number=True)
    with pytest.raises(ElectionFailed):
        await by_hash(trigger)
    assert await by_number(trigger) == A


async def test_a_turn_is_looked_for_again_where_the_attestation_chains_block_has_left(
    anvil: Anvil, reading: Reading
) -> None:
    contract = await deployed(anvil, "AttestationCenter")
    await change(anvil, contract, "register", A)
    moment = int((await anvil.block("latest"))["timestamp"], 16)
    await anvil.call("evm_setNextBlockTimestamp", moment + 10)
    await anvil.mine()
    blocks = AttestationBlock(reading.chain)
    operators, loop = Operators(reading.chain, contract), asyncio.get_running_loop()
    elect = RoundRobinElection(RoundRobin(), operators, blocks, loop, by_number=False)
    known = await blocks.at(moment)
    blocks._found._asked[moment] = asyncio.ensure_future(gone())
    with pytest.raises(ElectionFailed):
        await elect(context(block_timestamp=moment))
    assert await elect(context(block_timestamp=moment)) == A
    assert await blocks.at(moment) == known


async def gone() -> Block:
    """A block that was found, and has left the chain since."""
    return Block(1, b"\x12" * 32, b"", 0, 0, 0)
