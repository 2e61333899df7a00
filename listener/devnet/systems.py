"""
What the documented systems need on this machine: their contracts, a price endpoint, operators with health endpoints.

One operator is down and another lies: the health check has to say so of them.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from eth_utils.crypto import keccak

from listener.devnet import contract
from listener.devnet.accounts import ACCOUNTS, PERFORMER
from listener.devnet.anvil import Anvil
from listener.devnet.contract import Contract
from listener.devnet.count import HEALTH, PRICES, ROLES
from listener.devnet.operators import DOWN, LYING, WELL, Operator
from listener.devnet.prices import Prices

ROLE = "KEEPER_ROLE"
OTHERS = ((ACCOUNTS[1], WELL), (ACCOUNTS[2], DOWN), (ACCOUNTS[3], LYING))  # operators beside the performer
RULES = """
[attestation]
chain = "l2"
address = "{center}"

[[rules]]
name = "{prices.name}"
task = "tasks.price_oracle"
task_definition_id = {prices.definition}
trigger = {{ type = "block", chain = "l2", every = {prices.every} }}
settings = {{ sources = [{sources}] }}

[[rules]]
name = "{health.name}"
task = "tasks.health_check"
task_definition_id = {health.definition}
trigger = {{ type = "epoch", chain = "l2", length = {health.every} }}
settings = {{ attestation_center = "{center}", allow_private = true, pause_s = 0.1, window = 1000 }}

[[rules]]
name = "{roles.name}"
task = "tasks.access_control"
task_definition_id = {roles.definition}
trigger = {{ type = "block", chain = "l2", every = {roles.every} }}
settings = {{ mode = "roles", contract = "{contract}", role = "{role}" }}
"""


@dataclass(frozen=True)
class Systems:
    """All of it, running."""

    center: Contract  # of attestations; knows the operators, and where their endpoints are registered
    registry: Contract  # of endpoints
    keepers: Contract  # who has which role
    prices: Prices
    operators: tuple[Operator, ...]

    def rules(self) -> str:
        """Return what a daemon's ``config.toml`` says of them."""
        sources = ", ".join(
            "{ " + ", ".join(f"{key} = {orjson.dumps(value).decode()}" for key, value in source.items()) + " }"
            for source in self.prices.sources()
        )
        return RULES.format(
            center=self.center.address,
            contract=self.keepers.address,
            role=ROLE,
            sources=sources,
            prices=PRICES,
            health=HEALTH,
            roles=ROLES,
        )

    def details(self) -> dict[str, Any]:
        """Return addresses and URLs, ready to be written as JSON."""
        return {
            "attestation_center": self.center.address,
            "liveness_registry": self.registry.address,
            "roles": self.keepers.address,
            "prices": self.prices.url,
            "operators": {operator.account.address: operator.url for operator in self.operators},
        }

    async def go_on(self, block: int) -> None:
        """Let happen what happens before a block: an account gets the role, or loses it."""
        change = "grantRole" if block % 2 else "revokeRole"
        account = ACCOUNTS[4 + block // 2 % 4].address
        await self.keepers.transact(f"{change}(bytes32,address)", _role(), account)


@asynccontextmanager
async def systems(anvil: Anvil, performer_url: str) -> AsyncIterator[Systems]:
    """
    Bring them up, and down again.

    Args:
        anvil: where the contracts are deployed.
        performer_url: where the performer, an operator like the others, answers health checks.
    """

    async def block_hash(number: int) -> str | None:
        block = await anvil.call("eth_getBlockByNumber", hex(number), False)  # noqa: FBT003 - without bodies
        return None if block is None else str(block["hash"])

    async with AsyncExitStack() as running:
        prices = await running.enter_async_context(Prices())
        operators = []
        for account, state in OTHERS:
            operator = await running.enter_async_context(Operator(account, block_hash))
            operator.state = state
            operators.append(operator)
        center = await contract.deploy(anvil, "AttestationCenter")
        registry = await contract.deploy(anvil, "LivenessRegistry", ["address"], [center.address])
        keepers = await contract.deploy(anvil, "EnumerableRoles")
        endpoints = {operator.account.address: operator.url for operator in operators}
        endpoints[PERFORMER.address] = performer_url
        sent = [await center.transact("setAvsLogic(address)", registry.address)]
        sent += [await center.transact("register(address)", address) for address in endpoints]
        await _mined(anvil, sent)
        sent = [await registry.transact("register(string)", url, sender=of) for of, url in endpoints.items()]
        sent.append(await keepers.transact("grantRole(bytes32,address)", _role(), PERFORMER.address))
        await _mined(anvil, sent)
        yield Systems(center, registry, keepers, prices, tuple(operators))


async def _mined(anvil: Anvil, sent: list[str]) -> None:
    if not anvil.mining:
        await anvil.mine()
    for transaction_hash in sent:
        await anvil.receipt(transaction_hash)


def _role() -> bytes:
    return keccak(text=ROLE)
