"""What is written of a chain: where its walk stands, since when its rules apply, and which blocks are still open."""

from dataclasses import replace

from world import CHAIN, CHAIN_ID, START, World, block, chain_row, event, fired, hashed


async def test_a_chain_that_was_never_followed_has_no_row(world: World) -> None:
    assert await world.journal.chain("other") is None


async def test_a_begun_chain_stands_where_it_began(world: World) -> None:
    row = await world.journal.chain(CHAIN)
    assert row == chain_row()
    assert (row.genesis, row.chain_id, row.halted) == (hashed("genesis"), CHAIN_ID, None)
    assert world.remembered() == [START]


async def test_a_chain_begins_once_and_who_comes_later_is_told_where(world: World) -> None:
    assert await world.journal.begin_chain(chain_row(block(50).cursor), {"a": "1"}, 3) == chain_row()
    assert world.written_cursor() == block(START).cursor


async def test_the_cursor_and_what_is_final_survive_a_restart(world: World) -> None:
    await world.walk(to=block(20), final=15)
    await world.restart()
    row = await world.journal.chain(CHAIN)
    assert row is not None
    assert (row.cursor, row.final) == (block(20).cursor, 15)


async def test_a_halt_is_written_with_its_reason_and_ends_with_the_next_step(world: World) -> None:
    await world.journal.halt(CHAIN, "it left us")
    row = await world.journal.chain(CHAIN)
    assert row is not None
    assert row.halted == "it left us"
    await world.walk(to=block(11))
    row = await world.journal.chain(CHAIN)
    assert row is not None
    assert row.halted is None


async def test_a_halt_can_be_taken_back(world: World) -> None:
    await world.journal.halt(CHAIN, "it left us")
    await world.journal.halt(CHAIN, None)
    row = await world.journal.chain(CHAIN)
    assert row is not None
    assert row.halted is None


async def test_history_gives_the_hashes_between_two_numbers(world: World) -> None:
    await world.walk(to=block(15))
    assert await world.journal.history(CHAIN, 12, 14) == {number: block(number).hash for number in (12, 13, 14)}
    assert await world.journal.history(CHAIN, 16, 20) == {}
    assert await world.journal.history("other", 12, 14) == {}


async def test_open_blocks_are_those_that_were_not_final_or_whose_tasks_may_still_run_or_be_sent(world: World) -> None:
    await world.walk(*[fired("blocks", block(number)) for number in (11, 12, 13, 14)], event("events", block(14)))
    claimed = await world.claim("blocks", slots=3)
    await world.sign(claimed[:2])
    await world.accept(await world.hand_out(1))
    assert await world.journal.open_blocks(CHAIN) == {block(number).hash: number for number in (11, 12, 13, 14)}
    await world.walk(to=block(15), final=11)
    assert await world.journal.open_blocks(CHAIN) == {block(number).hash: number for number in (12, 13, 14)}
    await world.fork(block(13), to=block(14, "b"))  # whose step says that nothing is final
    assert await world.journal.open_blocks(CHAIN) == {block(number).hash: number for number in (11, 12, 13)}
    assert await world.journal.open_blocks("other") == {}


# Since when a rule applies


async def test_on_the_first_run_rules_apply_from_start(world: World) -> None:
    assert await begin(world, {"a": "1", "b": "1"}, 3) == {"a": 3, "b": 3}


async def test_latest_means_the_block_after_the_cursor(world: World) -> None:
    assert await begin(world, {"a": "1"}, "latest") == {"a": 51}


async def test_a_rule_keeps_its_beginning_as_long_as_its_trigger_is_the_same(world: World) -> None:
    await world.journal.adopt_rules(CHAIN, {"a": "1"})
    await world.walk(to=block(20))
    assert await world.journal.adopt_rules(CHAIN, {"a": "1"}) == {"a": 11}
    await world.restart()
    assert await world.journal.adopt_rules(CHAIN, {"a": "1"}) == {"a": 11}


async def test_a_rule_that_was_added_changed_or_renamed_applies_from_the_next_block(world: World) -> None:
    await world.journal.adopt_rules(CHAIN, {"kept": "1", "changed": "1", "renamed": "1"})
    await world.walk(to=block(20))
    adopted = await world.journal.adopt_rules(CHAIN, {"kept": "1", "changed": "2", "new-name": "1", "added": "1"})
    assert adopted == {"kept": 11, "changed": 21, "new-name": 21, "added": 21}


async def test_a_rule_that_went_away_and_came_back_is_a_new_one(world: World) -> None:
    await world.journal.adopt_rules(CHAIN, {"a": "1", "b": "1"})
    await world.walk(to=block(20))
    await world.journal.adopt_rules(CHAIN, {"a": "1"})
    assert await world.journal.adopt_rules(CHAIN, {"a": "1", "b": "1"}) == {"a": 11, "b": 21}


async def test_a_rule_that_moved_to_another_chain_is_a_new_one(world: World) -> None:
    assert await begin(world, {"c": "1"}, 7) == {"c": 7}
    await world.journal.adopt_rules(CHAIN, {"a": "1", "b": "1"})
    assert await world.journal.adopt_rules("l1", {"c": "1", "a": "1"}) == {"c": 7, "a": 51}
    assert await world.journal.adopt_rules(CHAIN, {"b": "1"}) == {"b": 11}


async def test_a_chain_whose_rules_all_went_away_is_not_begun_again_by_the_next(world: World) -> None:
    assert await begin(world, {"a": "1"}, 7) == {"a": 7}
    await world.journal.adopt_rules(CHAIN, {"a": "1"})
    assert await begin(world, {"b": "1"}, 7) == {"b": 51}


async def test_a_rewind_does_not_change_from_when_rules_apply(world: World) -> None:
    await world.journal.adopt_rules(CHAIN, {"a": "1"})
    await world.walk(to=block(20))
    await world.journal.adopt_rules(CHAIN, {"a": "1", "b": "1"})
    await world.journal.move_chain(chain_row(block(12).cursor), [])
    assert await world.journal.adopt_rules(CHAIN, {"a": "1", "b": "1"}) == {"a": 11, "b": 21}


async def test_to_another_chain_of_the_same_name_every_rule_is_new(world: World) -> None:
    await world.walk(to=block(20))
    await world.journal.adopt_rules(CHAIN, {"a": "1"})
    await world.journal.move_chain(replace(chain_row(block(12).cursor), genesis=hashed("another")), [])
    assert await world.journal.adopt_rules(CHAIN, {"a": "1"}) == {"a": 13}


async def begin(world: World, rules: dict[str, str], start: int | str) -> dict[str, int]:
    """Do as a follower does when it starts on another chain, whose head is block 50."""
    await world.journal.begin_chain(chain_row(block(50).cursor, name="l1"), rules, start)
    return await world.journal.adopt_rules("l1", rules)
