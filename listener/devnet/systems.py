"""
What the documented systems need on this machine: their contracts, a price endpoint, resolvers, operators.

One operator is down and another lies, which the health check has to say of them; of three resolvers one lies.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from eth_utils.crypto import keccak

from listener.devnet import contract
from listener.devnet.accounts import ACCOUNTS, PERFORMER
from listener.devnet.anvil import Anvil
from listener.devnet.contract import Contract
from listener.devnet.count import DOMAINS, HEALTH, PRICES, ROLES
from listener.devnet.names import Names, Zones
from listener.devnet.operators import DOWN, LYING, WELL, Operator
from listener.devnet.prices import Prices

ROLE = "KEEPER_ROLE"
REQUEST = "requestRecord(string,string,string)"
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

[contracts.domain_registry]
chain = "l2"
address = "{domain_registry}"
abi = "abi/DomainRegistry.json"

[[rules]]
name = "{domains.name}"
task = "tasks.dns_registry"
task_definition_id = {domains.definition}
trigger = {{ type = "event", contract = "domain_registry", event = "RecordRequested" }}
settings = {{ resolvers = {resolvers} }}
"""
OWNED = {"one.test": ACCOUNTS[4], "two.test": ACCOUNTS[5]}  # whose challenge is in the DNS; three.test has none


@dataclass(frozen=True)
class Systems:
    """All of it, running."""

    center: Contract  # of attestations; knows the operators, and where their endpoints are registered
    registry: Contract  # of endpoints
    keepers: Contract  # who has which role
    domains: Contract  # takes requests to register a record
    prices: Prices
    operators: tuple[Operator, ...]
    names: tuple[Names, ...]  # resolvers, of which one lies

    def rules(self, folder: Path) -> str:
        """Return what a daemon's ``config.toml`` says of them, and write the ABI that it names beside it."""
        (folder / "abi").mkdir(parents=True, exist_ok=True)
        (folder / "abi" / "DomainRegistry.json").write_bytes(orjson.dumps(contract.artifact("DomainRegistry")["abi"]))
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
            domains=DOMAINS,
            domain_registry=self.domains.address,
            resolvers=orjson.dumps([each.resolver for each in self.names]).decode(),
        )

    def details(self) -> dict[str, Any]:
        """Return addresses and URLs, ready to be written as JSON."""
        return {
            "attestation_center": self.center.address,
            "liveness_registry": self.registry.address,
            "roles": self.keepers.address,
            "domain_registry": self.domains.address,
            "prices": self.prices.url,
            "resolvers": [each.resolver for each in self.names],
            "operators": {operator.account.address: operator.url for operator in self.operators},
        }

    async def go_on(self, block: int) -> None:
        """Let happen what happens before a block: an account gets the role or loses it, or asks for a record."""
        if block % 3 == 0:
            domain = ("one.test", "two.test", "three.test")[block // 3 % 3]
            requester = OWNED.get(domain, ACCOUNTS[4]).address
            await self.domains.transact(REQUEST, domain, "A", "192.0.2.1", sender=requester)
            return
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
        names = [await running.enter_async_context(Names(_zones(lies=lies))) for lies in (False, False, True)]
        center = await contract.deploy(anvil, "AttestationCenter")
        registry = await contract.deploy(anvil, "LivenessRegistry", ["address"], [center.address])
        keepers = await contract.deploy(anvil, "EnumerableRoles")
        domains = await contract.deploy(anvil, "DomainRegistry")
        endpoints = {operator.account.address: operator.url for operator in operators}
        endpoints[PERFORMER.address] = performer_url
        sent = [await center.transact("setAvsLogic(address)", registry.address)]
        sent += [await center.transact("register(address)", address) for address in endpoints]
        await _mined(anvil, sent)
        sent = [await registry.transact("register(string)", url, sender=of) for of, url in endpoints.items()]
        sent.append(await keepers.transact("grantRole(bytes32,address)", _role(), PERFORMER.address))
        await _mined(anvil, sent)
        yield Systems(center, registry, keepers, domains, prices, tuple(operators), tuple(names))


async def _mined(anvil: Anvil, sent: list[str]) -> None:
    if not anvil.mining:
        await anvil.mine()
    for transaction_hash in sent:
        await anvil.receipt(transaction_hash)


def _zones(*, lies: bool) -> Zones:
    """Give each domain; its owner's challenge stands there, and a liar says of all that it is somebody else's."""
    owners = {domain: ACCOUNTS[6] if lies else owner for domain, owner in OWNED.items()}
    zones = {
        domain: {"_avs-challenge": {"TXT": [f"avs-requester={of.address.lower()}"]}} for domain, of in owners.items()
    }
    return {**zones, "three.test": {"": {"A": ["192.0.2.1"]}}}


def _role() -> bytes:
    return keccak(text=ROLE)
