"""The health check end to end: anvil, the attestation center, a registry of endpoints, and operators on loopback."""

import json
import sys
from pathlib import Path
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak

sys.path.insert(0, str(Path(__file__).parent.parent))
from following import following, vote, write_config

import listener.devnet
from listener.devnet.accounts import ACCOUNTS, PERFORMER
from listener.devnet.aggregator import Aggregator
from listener.devnet.anvil import Anvil
from listener.devnet.operators import DOWN, Operator

ARTIFACTS = Path(listener.devnet.__file__).parent / "artifacts"


async def deploy(anvil: Anvil, name: str, arguments: bytes = b"") -> str:
    return await anvil.deploy(json.loads((ARTIFACTS / f"{name}.json").read_bytes()), arguments)


async def send(anvil: Anvil, contract: str, call: str, value: Any, sender: str) -> None:
    kind = call[call.index("(") + 1 : -1]
    data = keccak(text=call)[:4] + encode([kind], [value])
    await anvil.receipt(await anvil.send(contract, data, sender=sender))


async def test_each_operator_is_asked_in_its_turn_one_of_them_this_daemon_itself(
    aggregator: Aggregator, tmp_path: Path
) -> None:
    async with Anvil() as anvil:

        async def block_hash(number: int) -> str | None:
            return str((await anvil.block(number))["hash"])

        async with Operator(ACCOUNTS[1], block_hash) as operator:
            center = await deploy(anvil, "AttestationCenter")
            registry = await deploy(anvil, "LivenessRegistry", encode(["address"], [center]))
            for each in (operator.account, PERFORMER):
                await send(anvil, center, "register(address)", each.address, ACCOUNTS[0].address)
            await send(anvil, registry, "register(string)", operator.url, operator.account.address)
            start = (await anvil.head() // 5 + 2) * 5
            rules = (
                '[[rules]]\nname = "health"\ntask = "tasks.health_check"\ntask_definition_id = 6\n'
                'trigger = { type = "epoch", length = 5 }\nmax_attempts = 1\n'
                f'settings = {{ attestation_center = "{center}", registry = "{registry}", allow_private = true, '
                "pause_s = 0.1, window = 100 }\n"
            )
            config = write_config(
                tmp_path,
                [anvil.ws_url],
                rules,
                aggregator=aggregator.url,
                http="healthcheck = true",
                chain=f"start = {start}",
            )
            async with following(config, attests=True) as daemon:
                await send(anvil, registry, "register(string)", f"{daemon.url}/healthcheck", PERFORMER.address)
                await anvil.mine(start + 5 - await anvil.head())
                await daemon.until(lambda: len(aggregator.accepted) == 2)
                operator.state = DOWN
                await anvil.mine(10)
                await daemon.until(lambda: len(aggregator.accepted) == 4)
                found = [decode(["address", "bool"], call.data) for call in aggregator.accepted]
                first = operator.account.address.lower()
                assert sorted(found) == sorted(
                    [(first, True), (first, False), *[(PERFORMER.address.lower(), True)] * 2]
                )
                for call, (address, is_valid) in zip(aggregator.accepted, found, strict=True):
                    assert await vote(daemon.url, call, data=call.data) is True
                    turned = encode(["address", "bool"], [address, not is_valid])
                    assert await vote(daemon.url, call, data=turned) is False
            assert [state for _, state in daemon.states("health")] == ["accepted"] * 4
