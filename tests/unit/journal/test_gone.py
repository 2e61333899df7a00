"""What is pending of a rule that is gone does not wait for ever: it ends with a reason, and what is signed is sent."""

from dataclasses import replace

from world import CHAIN, RULES, START, World, block, event, fired

from listener.journal import RuleFacts
from listener.journal.gone import Gone

REMOVED = 'the rule "blocks" is no longer in the configuration'
MOVED = 'the rule "blocks" is on chain l1 now, not on l2'
WITHOUT = {name: rule for name, rule in RULES.items() if name != "blocks"}
ELSEWHERE = {**RULES, "blocks": replace(RULES["blocks"], chain="l1")}


async def restart(world: World, rules: dict[str, RuleFacts]) -> list[Gone]:
    """Start again with another configuration."""
    world._rules = rules
    await world.restart()
    return await world.journal.end_gone()


async def test_pending_tasks_of_a_removed_rule_expire_with_a_reason_that_names_it(world: World) -> None:
    await world.walk(fired("blocks", block(11)), event("events", block(11)), fired("blocks", block(12)))
    gone = await restart(world, WITHOUT)
    assert gone == [Gone(rule="blocks", chain=CHAIN, reason=REMOVED, expired=2)]
    assert world.states() == ["expired", "pending", "expired"]
    assert [world.row(task)["error"] for task in (1, 3)] == [REMOVED, REMOVED]
    assert all(world.row(task)["settled_at"] for task in (1, 3))
    assert await world.journal.end_gone() == []
    assert [task.id for task in await world.claim("events")] == [2]


async def test_what_ran_when_the_process_ended_is_pending_again_and_expires_too(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.claim("blocks")
    await restart(world, WITHOUT)
    assert (world.states(), world.row()["error"]) == (["expired"], REMOVED)


async def test_what_a_removed_rule_has_signed_is_sent_with_the_same_bytes(world: World) -> None:
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)))
    await world.sign(await world.claim("blocks", slots=1))
    signature = world.row()["signature"]
    await restart(world, WITHOUT)
    assert world.states() == ["ready", "expired"]
    (parcel,) = await world.send_all()
    assert (parcel.id, parcel.payload.signature) == (1, signature)
    assert world.states() == ["accepted", "expired"]


async def test_tasks_of_the_chain_that_a_rule_has_left_expire(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    gone = await restart(world, ELSEWHERE)
    assert gone == [Gone(rule="blocks", chain=CHAIN, reason=MOVED, expired=1)]
    assert (world.states(), world.row()["error"]) == (["expired"], MOVED)


async def test_a_rule_that_is_still_there_keeps_its_tasks_whatever_became_of_its_trigger(world: World) -> None:
    await world.journal.adopt_rules(CHAIN, {"blocks": "1"})
    await world.walk(fired("blocks", block(11)))
    assert await restart(world, {"blocks": RuleFacts(task_definition_id=9, once=True, chain=CHAIN)}) == []
    assert await world.journal.adopt_rules(CHAIN, {"blocks": "2"}) == {"blocks": 12}
    assert [task.block_number for task in await world.claim("blocks")] == [11]


async def test_a_removed_rule_is_forgotten_also_where_nobody_follows_its_chain_any_more(world: World) -> None:
    await world.journal.adopt_rules(CHAIN, {"blocks": "1"})
    await world.walk(to=block(20))
    await restart(world, {})
    await restart(world, RULES)
    assert await world.journal.adopt_rules(CHAIN, {"blocks": "1"}) == {"blocks": 21}


async def test_a_block_that_returns_brings_no_task_of_a_removed_rule_back(world: World) -> None:
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)))
    await world.fork(block(START), to=block(12, "b"))
    assert world.states() == ["cancelled", "cancelled"]
    await restart(world, WITHOUT)
    await world.fork(block(START), to=block(13))
    assert world.states() == ["expired", "expired"]
    assert {row["error"] for row in world.rows().values()} == {REMOVED}


async def test_a_block_that_returns_brings_the_payload_of_a_removed_rule_back(world: World) -> None:
    await world.walk(fired("blocks", block(11)))
    await world.execute("blocks")
    await world.fork(block(START), to=block(12, "b"))
    assert world.states() == ["cancelled"]
    await restart(world, WITHOUT)
    await world.fork(block(START), to=block(13))
    assert world.states() == ["ready"]
    assert len(await world.send_all()) == 1
