"""Rules that are added, changed, removed or moved between two runs: as real processes once, else on both databases."""

from pathlib import Path

import pytest
from command import quickly, running
from following import BLOCKS, Following, following, write_config

from listener.devnet.aggregator import Aggregator
from listener.testing import FakeNode

OTHER = BLOCKS.replace('"blocks"', '"other"').replace("definition_id = 1", "definition_id = 2")
EVERY_10 = BLOCKS.replace("every = 1 ", "every = 10 ")
HELD = BLOCKS + "confirmations = 1000\n"
L1 = '[chains.l1]\nendpoints = ["{url}"]\nchain_id = 31338\nstart = 3\n'


async def test_a_rule_that_is_removed_leaves_no_task_waiting_and_what_is_signed_is_sent(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS)  # nobody takes what is sent
    daemon = Following(config)
    async with running(config) as run:
        await run.logged("chain.begun")
        await node.mine()
        await run.until(lambda: daemon.states() == [(11, "ready")])
    write_config(tmp_path, [node.ws_url], HELD)
    async with running(config) as run:
        await run.until(lambda: run.events().count("journal.opened") == 2)
        await node.mine(count=2)
        await run.until(lambda: daemon.states() == [(11, "ready"), (12, "pending"), (13, "pending")])
    payload = (daemon.rows[0]["proof_of_task"], daemon.rows[0]["signature"])
    write_config(tmp_path, [node.ws_url], OTHER, aggregator=aggregator.url)
    await node.mine()
    async with running(config) as run:
        await run.until(lambda: sorted(daemon.states("other")) == [(14, "accepted")])
        await run.until(lambda: daemon.states("blocks") == [(11, "accepted"), (12, "expired"), (13, "expired")])
    (told,) = [line for line in run.lines if line["event"] == "rule.gone"]
    assert (told["rule"], told["chain"], told["expired"]) == ("blocks", "l2", 2)
    assert {row["error"] for row in daemon.rows[1:3]} == {'the rule "blocks" is no longer in the configuration'}
    refused = await quickly("tasks", "retry", "2", config=config)
    assert (refused.code, 'the rule "blocks" is no longer in the configuration' in refused.err) == (1, True)
    sent = [call for call in aggregator.accepted if call.proof_of_task == payload[0]]
    assert [call.signature for call in sent] == [payload[1]]


@pytest.mark.usefixtures("either_journal")
async def test_a_rule_whose_trigger_changes_keeps_its_tasks_and_fires_anew_from_the_next_block(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    config = write_config(tmp_path, [node.ws_url], HELD, aggregator=aggregator.url)
    async with following(config) as run:
        await run.walked(10)
        await node.mine(count=2)
        await run.until(lambda: run.states() == [(11, "pending"), (12, "pending")])
    unjudged = EVERY_10 + "self_check = false\n"  # by the rule as it is now, its older tasks should not be
    write_config(tmp_path, [node.ws_url], unjudged, aggregator=aggregator.url)
    await node.mine(count=10)
    async with following(config) as run:
        await run.until(lambda: run.states() == [(11, "accepted"), (12, "accepted"), (20, "accepted")])


@pytest.mark.usefixtures("either_journal")
async def test_what_the_changed_rule_would_not_do_fails_in_the_self_check_and_is_never_signed(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    config = write_config(tmp_path, [node.ws_url], HELD + "max_attempts = 1\n", aggregator=aggregator.url)
    async with following(config) as run:
        await run.walked(10)
        await node.mine()
        await run.until(lambda: run.states() == [(11, "pending")])
    write_config(tmp_path, [node.ws_url], EVERY_10 + "max_attempts = 1\n", aggregator=aggregator.url)
    async with following(config) as run:
        await run.until(lambda: run.states() == [(11, "failed")])
    (row,) = run.rows
    assert "self-check" in row["error"]
    assert row["signature"] is None


@pytest.mark.usefixtures("either_journal")
async def test_a_chain_whose_rules_all_moved_away_is_not_begun_again_when_one_comes_back(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    async with FakeNode(chain_id=31338) as other:
        other.chain.add(count=5)
        more = L1.format(url=other.ws_url)
        config = write_config(tmp_path, [node.ws_url], HELD, chain="start = 8", more=more)
        async with following(config) as run:
            await run.until(lambda: run.states() == [(8, "pending"), (9, "pending"), (10, "pending")])
        moved = HELD.replace('chain = "l2"', 'chain = "l1"')
        write_config(tmp_path, [node.ws_url], moved, chain="start = 8", more=more)
        async with following(config) as run:
            await run.until(lambda: run.states()[3:] == [(3, "pending"), (4, "pending"), (5, "pending")])
        assert run.states()[:3] == [(8, "expired"), (9, "expired"), (10, "expired")]
        assert {row["error"] for row in run.rows[:3]} == {'the rule "blocks" is on chain l1 now, not on l2'}
        write_config(tmp_path, [node.ws_url], OTHER, chain="start = 8", more=more, aggregator=aggregator.url)
        await node.mine()
        async with following(config) as run:
            await run.until(lambda: run.states("other") == [(11, "accepted")])
