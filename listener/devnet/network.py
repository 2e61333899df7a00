"""
The local network as one thing: anvil, an IntentSender and an aggregator, and the configuration of a daemon beside them.

Everything listens on the loopback address alone.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from listener.devnet.accounts import ACCOUNTS, PERFORMER
from listener.devnet.aggregator import Aggregator
from listener.devnet.anvil import HOST, Anvil, free_port
from listener.devnet.count import BLOCK_RULE, EPOCH_LENGTH, EPOCH_RULE, EVENT_RULE, EVERY
from listener.devnet.intent_sender import IntentSender, artifact

CONFIG = """\
# Written by the local network, for a chain that ends with it.

[performer]
key = {{ file = "performer.key" }}

[chains.l2]
endpoints = ["{ws}", "{http}"]
chain_id = {chain_id}
start = {start}

[contracts.intent_sender]
chain = "l2"
address = "{intent_sender}"
abi = "abi/IntentSender.json"

[aggregator]
url = "{aggregator}"

[journal]
url = "sqlite:///listener.db"

[http]
bind = "{bind}"
healthcheck = true

[[rules]]
name = "{event_rule}"
task = "tasks.intent"
task_definition_id = 0
trigger = {{ type = "event", contract = "intent_sender", event = "IntentSent" }}

[[rules]]
name = "{block_rule}"
task = "tasks.block_report"
task_definition_id = 1
trigger = {{ type = "block", chain = "l2", every = {every} }}

[[rules]]
name = "{epoch_rule}"
task = "tasks.block_report"
task_definition_id = 2
trigger = {{ type = "epoch", chain = "l2", length = {length}, at = "start" }}
"""


@dataclass(frozen=True)
class Network:
    """What runs on this machine."""

    anvil: Anvil
    intent_sender: IntentSender
    aggregator: Aggregator
    http_port: int = field(default_factory=free_port)  # of the daemon beside it

    @property
    def daemon_url(self) -> str:
        """Where the daemon answers."""
        return f"http://{HOST}:{self.http_port}"

    def details(self) -> dict[str, Any]:
        """Return addresses, well-known keys and URLs, ready to be written as JSON."""
        return {
            "chain_id": self.anvil.chain_id,
            "ws": self.anvil.ws_url,
            "http": self.anvil.http_url,
            "aggregator": self.aggregator.url,
            "contracts": {"intent_sender": self.intent_sender.address},
            "performer": asdict(PERFORMER),
            "accounts": [asdict(account) for account in ACCOUNTS],
        }

    def write_config(self, folder: Path, *, start: int, more: str = "") -> Path:
        """
        Write a daemon's ``config.toml``, key and ABI into a folder and return the path of the first.

        Args:
            folder: made when missing; nothing in it points outside.
            start: the first block whose triggers count.
            more: tables and rules beside those of blocks, epochs and intents.
        """
        (folder / "abi").mkdir(parents=True, exist_ok=True)
        (folder / "abi" / "IntentSender.json").write_bytes(orjson.dumps(artifact()["abi"]))
        key = folder / "performer.key"
        key.touch(mode=0o600)  # a daemon refuses a key that others can read
        key.write_text(PERFORMER.private_key)
        config = folder / "config.toml"
        config.write_text(
            CONFIG.format(
                ws=self.anvil.ws_url,
                http=self.anvil.http_url,
                chain_id=self.anvil.chain_id,
                start=start,
                intent_sender=self.intent_sender.address,
                aggregator=self.aggregator.url,
                bind=f"{HOST}:{self.http_port}",
                event_rule=EVENT_RULE,
                block_rule=BLOCK_RULE,
                every=EVERY,
                epoch_rule=EPOCH_RULE,
                length=EPOCH_LENGTH,
            )
            + more
        )
        return config


@asynccontextmanager
async def local_network(
    *, port: int = 0, aggregator_port: int = 0, block_time_s: float | None = None, mining: bool = True
) -> AsyncIterator[Network]:
    """Bring everything up, and down again; port 0 takes a free one, the rest is as for Anvil."""
    async with (
        Anvil(port=port, block_time_s=block_time_s, mining=mining) as anvil,
        Aggregator(port=aggregator_port, chain_id=anvil.chain_id) as aggregator,
    ):
        yield Network(anvil, await IntentSender.deploy(anvil), aggregator)
