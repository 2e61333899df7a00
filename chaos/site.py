"""
Where a daemon is tormented: a real chain with an IntentSender and a fake aggregator, each behind a line that breaks.

The tasks answer as the shipped ones do, but with data that no second execution has again: a payload that was made twice
shows as two payloads of one proof. Now and then the first attempt of a task fails.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from listener.devnet.accounts import PERFORMER
from listener.devnet.anvil import Anvil
from listener.devnet.count import BLOCK_RULE, EPOCH_LENGTH, EPOCH_RULE, EVENT_RULE, EVERY
from listener.devnet.intent_sender import IntentSender, artifact
from listener.testing import FakeAggregator, Proxy

SQLITE = "sqlite:///listener.db"
TASK = '''"""Answers each trigger once only: the data differs in every execution."""
import os
from listener import TaskResult

async def execute(ctx):
    trigger = ctx.trigger
    if ctx.attempt == 1 and ctx.key[0] in "01":
        raise RuntimeError("the first attempt of one task in eight fails")
    if trigger.event is None:
        proof = f"{trigger.block_number}+{trigger.rule}+0x{trigger.block_hash.hex()}"
    else:
        proof = f"{trigger.block_number}+0x{trigger.event.transaction_hash.hex()}+{trigger.event.log_index}"
    return TaskResult(proof, os.urandom(32))
'''
CONFIG = """\
[performer]
key = {{ file = "performer.key" }}

[chains.l2]
endpoints = ["{ws}", "{http}"]
chain_id = {chain_id}
start = {start}

[contracts.intent_sender]
chain = "l2"
address = "{address}"
abi = "IntentSender.json"

[aggregator]
url = "{aggregator}"
timeout_s = 1

[journal]
url = {journal}

[http]
bind = "127.0.0.1:0"

[logs]
format = "json"
"""
# We end the process, not the tasks that it has in hand: they must not use up their attempts.
RULE = """
[[rules]]
name = "{name}"
task = "chaos_task"
task_definition_id = {definition}
trigger = {trigger}
max_attempts = 1000
"""
TRIGGERS = {
    EVENT_RULE: '{ type = "event", contract = "intent_sender", event = "IntentSent" }',
    BLOCK_RULE: f'{{ type = "block", chain = "l2", every = {EVERY} }}',
    EPOCH_RULE: f'{{ type = "epoch", chain = "l2", length = {EPOCH_LENGTH}, at = "start" }}',
}


@dataclass(frozen=True)
class Site:
    """One chain and one aggregator, and the lines to both."""

    anvil: Anvil
    sender: IntentSender
    aggregator: FakeAggregator
    chain_line: Proxy
    aggregator_line: Proxy

    def write_config(self, folder: Path, *, start: int, journal: str = SQLITE, more: str = "") -> Path:
        """Write what a daemon needs into a folder and return the path of its ``config.toml``."""
        (folder / "IntentSender.json").write_text(json.dumps(artifact()["abi"]))
        (folder / "chaos_task.py").write_text(TASK)
        key = folder / "performer.key"
        key.touch(mode=0o600)
        key.write_text(PERFORMER.private_key)
        text = CONFIG.format(
            ws=self.chain_line.ws_url,
            http=self.chain_line.http_url,
            chain_id=self.anvil.chain_id,
            start=start,
            address=self.sender.address,
            aggregator=self.aggregator_line.http_url,
            journal=json.dumps(journal),
        )
        for definition, (name, trigger) in enumerate(TRIGGERS.items()):
            text += RULE.format(name=name, definition=definition, trigger=trigger)
        config = folder / "config.toml"
        config.write_text(text + more)
        return config


@asynccontextmanager
async def open_site(*, history_blocks: int = 256) -> AsyncIterator[Site]:
    """Bring a site up, and down again."""
    async with Anvil(mining=False, history_blocks=history_blocks) as anvil, FakeAggregator() as aggregator:
        # A second a block, whatever the time is: a block that is made again is the same to its hash.
        await anvil.call("anvil_setBlockTimestampInterval", 1)
        sender = await IntentSender.deploy(anvil)
        async with Proxy(anvil.port) as chain_line, Proxy(aggregator.port) as aggregator_line:
            yield Site(anvil, sender, aggregator, chain_line, aggregator_line)
