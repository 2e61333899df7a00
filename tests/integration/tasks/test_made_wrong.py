"""What a task answers wrongly gets past neither the self-check nor the attesters, also where one attester lies."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))
from following import Following, attending, following, write_config

from listener.devnet.aggregator import Aggregator
from listener.devnet.attesters import COUNT
from listener.devnet.gossip import Gossip
from listener.devnet.prices import Prices
from listener.testing import FakeNode

WRONG = '''"""Says what the proof does not."""
from listener import TaskResult
from tasks import price_oracle
from tasks.price_oracle import Settings, validate

async def execute(ctx):
    right = await price_oracle.execute(ctx)
    return TaskResult(right.proof_of_task, right.data[:-1] + bytes((right.data[-1] ^ 1,)))
'''
LIAR = '''"""Votes against what is right, and for what is wrong."""
from listener import Verdict
from tasks import price_oracle
from tasks.price_oracle import Settings, execute

async def validate(ctx, claim):
    verdict = await price_oracle.validate(ctx, claim)
    return Verdict.reject("a lie") if verdict.approved else Verdict.approve()
'''
RIGHT = "tasks.price_oracle"


class Village:
    """A performer with its task, and attesters of which one lies."""

    def __init__(self, folder: Path, node: FakeNode, aggregator: Aggregator, prices: Prices) -> None:
        self._folder = folder
        self._node = node
        self._aggregator = aggregator
        self._prices = prices

    @asynccontextmanager
    async def performing(self, task: str, *, self_check: bool) -> AsyncIterator[tuple[Following, Gossip]]:
        performer = self._config("performer", task, self_check=self_check)
        async with AsyncExitStack() as stack:
            daemon = await stack.enter_async_context(following(performer))
            gateway = f'[proofs]\ngateways = ["{daemon.url}"]\n'
            tasks = ["liar", *[RIGHT] * (COUNT - 1)]
            urls = [
                await stack.enter_async_context(attending(self._config(f"attester-{number}", each, more=gateway)))
                for number, each in enumerate(tasks)
            ]
            gossip = await stack.enter_async_context(Gossip(urls))
            self._aggregator.gossip = gossip
            await daemon.walked(10)
            await self._node.mine(count=2)
            yield daemon, gossip

    def _config(self, name: str, task: str, *, self_check: bool = True, more: str = "") -> Path:
        folder = self._folder / name
        folder.mkdir()
        (folder / "wrong.py").write_text(WRONG)
        (folder / "liar.py").write_text(LIAR)
        sources = ", ".join(
            "{" + ", ".join(f"{key} = {json.dumps(value)}" for key, value in each.items()) + "}"
            for each in self._prices.sources()
        )
        rule = (
            f'[[rules]]\nname = "price"\ntask = "{task}"\ntask_definition_id = 5\nmax_attempts = 1\n'
            f'self_check = {json.dumps(self_check)}\ntrigger = {{ type = "block", every = 2 }}\n'
            f"settings = {{ block_age_s = 1000000000, sources = [{sources}] }}\n"
        )
        return write_config(folder, [self._node.ws_url], rule, aggregator=self._aggregator.url, more=more)


@pytest.fixture
async def village(node: FakeNode, aggregator: Aggregator, tmp_path: Path) -> AsyncIterator[Village]:
    async with Prices() as prices:
        yield Village(tmp_path, node, aggregator, prices)


async def test_one_attester_that_lies_does_not_keep_what_is_right_from_being_approved(village: Village) -> None:
    async with village.performing(RIGHT, self_check=True) as (daemon, gossip):
        await daemon.until(lambda: gossip.approved)
        assert daemon.states() == [(12, "accepted")]
        assert not gossip.rejected


async def test_what_is_wrong_is_refused_by_the_self_check_and_never_sent(
    village: Village, aggregator: Aggregator
) -> None:
    async with village.performing("wrong", self_check=True) as (daemon, _):
        await daemon.until(lambda: daemon.states() == [(12, "failed")])
        assert "the data is not what the proof says" in daemon.rows[0]["error"]
    assert (aggregator.accepted, aggregator.refused) == ([], [])


async def test_what_is_wrong_is_rejected_by_the_attesters_where_nobody_checked_it_though_one_lies(
    village: Village,
) -> None:
    async with village.performing("wrong", self_check=False) as (daemon, gossip):
        await daemon.until(lambda: gossip.rejected)
        assert daemon.states() == [(12, "accepted")]
        assert not gossip.approved
