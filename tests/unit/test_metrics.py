"""What happens is counted once, where its log line is written; the page that lists the metrics is the code's."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from world import CHAIN, CHAIN_ID, NOW, START, World, block, fired

from listener import metrics
from listener.journal import Parcel, Sent
from listener.journal.incidents import Kind
from listener.model import Payload, State
from listener.runner.runner import _report_expired
from listener.submitter import _report

PAYLOAD = Payload("proof", b"", 1, "0x", b"", b"")


def value(name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def counted(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: after[name] - before[name] for name in after if after[name] != before[name]}


def of_chain() -> dict[str, float]:
    names = ("blocks_walked_total", "gap_blocks_total", "tasks_journaled_total", "tasks_cancelled_total")
    more = ("tasks_orphaned_total", "tasks_revived_total", "reorg_depth_blocks_count", "reorg_depth_blocks_sum")
    plain = {name: value(f"listener_{name}", chain=CHAIN) for name in (*names, *more)}
    return plain | {kind: value("listener_incidents_total", chain=CHAIN, kind=kind) for kind in Kind}


def of_rule(rule: str) -> dict[str, float]:
    states = {state: value("listener_tasks_ended_total", rule=rule, state=state) for state in State}
    known = value("listener_already_known_total", rule=rule)
    return {**states, "known": known, "took": value("listener_task_accepted_seconds_count", rule=rule)}


async def test_a_step_counts_its_blocks_and_its_rows_and_says_where_the_chain_stands(world: World) -> None:
    before = of_chain()
    await world.walk(fired("blocks", block(12)), to=block(15))
    assert counted(before, of_chain()) == {"blocks_walked_total": 5, "tasks_journaled_total": 1}
    assert value("listener_cursor_block", chain=CHAIN) == value("listener_head_block", chain=CHAIN) == 15
    assert value("listener_lag_blocks", chain=CHAIN) == 0


async def test_a_chain_that_is_behind_says_by_how_much(world: World) -> None:
    metrics.of_chain(CHAIN).stand(5, 25)
    assert value("listener_lag_blocks", chain=CHAIN) == 20
    await world.walk(to=block(11))
    assert value("listener_lag_blocks", chain=CHAIN) == 0


async def test_a_reorg_counts_once_with_its_depth_and_what_it_did_to_tasks(world: World) -> None:
    await world.walk(fired("blocks", block(11)), fired("blocks", block(12)))
    await world.execute("blocks")
    await world.hand_out(1)
    before = of_chain()
    await world.fork(block(START), to=block(13, "b"))
    assert counted(before, of_chain()) == {
        "blocks_walked_total": 3,
        "reorg": 1,
        "reorg_depth_blocks_count": 1,
        "reorg_depth_blocks_sum": 2,
        "tasks_cancelled_total": 1,
        "tasks_orphaned_total": 1,
    }
    before = of_chain()
    await world.fork(block(START), fired("blocks", block(11)), fired("blocks", block(12)), to=block(14))
    assert counted(before, of_chain())["tasks_revived_total"] == 2


async def test_a_gap_counts_its_blocks_and_is_told_once(world: World) -> None:
    before = of_chain()
    step = world.step([], block(20))
    with capture_logs() as lines:
        await world.journal.write(replace(step, untold=(11, 18)), CHAIN_ID)
    assert counted(before, of_chain()) == {"blocks_walked_total": 10, "gap_blocks_total": 8, "gap": 1}
    assert [(line["event"], line["from_block"], line["to_block"]) for line in lines] == [("chain.gap_found", 11, 18)]


async def test_a_halt_shows_until_it_ends(world: World) -> None:
    before = of_chain()
    await world.journal.halt(CHAIN, "it left us")
    assert counted(before, of_chain()) == {"halt": 1}
    assert value("listener_halted", chain=CHAIN) == 1
    await world.journal.halt(CHAIN, None)
    assert value("listener_halted", chain=CHAIN) == 0


async def test_a_chain_that_is_cut_off_counts_as_an_incident(world: World) -> None:
    before = of_chain()
    await world.journal.lose(CHAIN, "no line")
    await world.journal.regain(CHAIN)
    assert counted(before, of_chain()) == {"reconnect": 1}


def test_every_kind_of_incident_is_counted_from_the_first_on() -> None:
    assert set(metrics.INCIDENTS) == set(Kind)
    metrics.of_chain("untroubled")
    shown = metrics.render().decode()
    assert all(f'listener_incidents_total{{chain="untroubled",kind="{kind}"}} 0.0' in shown for kind in Kind)


@pytest.mark.parametrize(
    ("state", "already_known", "expected"),
    [
        (State.ACCEPTED, False, {"accepted": 1, "took": 1}),
        (State.ACCEPTED, True, {"accepted": 1, "took": 1, "known": 1}),
        (State.FAILED, False, {"failed": 1}),
        (State.READY, False, {}),
    ],
)
def test_a_send_counts_as_its_line_says(state: State, already_known: bool, expected: dict[str, int]) -> None:  # noqa: FBT001
    parcel: Any = Parcel(
        id=1,
        rule="sent",
        chain=CHAIN,
        block_number=11,
        created_at=NOW,
        sent_at=None,
        retried_at=None,
        sends=0,
        payload=PAYLOAD,
        fresh=True,
    )
    before, total = of_rule("sent"), value("listener_task_accepted_seconds_sum", rule="sent")
    with capture_logs() as lines:
        _report(parcel, Sent(id=1, state=state, sent_at=NOW, ended_at=NOW + 2_000_000, already_known=already_known))
    assert counted(before, of_rule("sent")) == expected
    took_s = 2.0 if state == State.ACCEPTED else 0.0
    assert value("listener_task_accepted_seconds_sum", rule="sent") == total + took_s
    assert len(lines) == len([name for name in expected if name in list(State)])


def test_the_way_to_acceptance_is_timed_in_seconds() -> None:
    metrics.of_rule("timed").accepted(2.0, already_known=False)
    assert value("listener_task_accepted_seconds_sum", rule="timed") == 2.0
    assert value("listener_task_accepted_seconds_bucket", rule="timed", le="1.0") == 0
    assert value("listener_task_accepted_seconds_bucket", rule="timed", le="2.5") == 1


def test_expired_tasks_count_one_by_one_with_their_lines() -> None:
    before = of_rule("old")
    with capture_logs() as lines:
        _report_expired("old", [1, 2])
    assert counted(before, of_rule("old")) == {"expired": 2}
    assert [line["event"] for line in lines] == ["task.expired"] * 2


def test_the_text_holds_every_metric_that_was_counted_and_no_second_one_beside_a_counter() -> None:
    metrics.of_rule("shown").ended("accepted")
    shown = metrics.render()
    assert b'listener_tasks_ended_total{rule="shown",state="accepted"} 1.0' in shown
    assert b"_created" not in shown


def test_names_begin_alike_and_the_page_that_lists_them_is_as_the_code_makes_it() -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    assert page == metrics.described(), "run `python -m listener.metrics > docs/metrics.md`"
    names = re.findall(r"^\| `(\w+)`", page, re.MULTILINE)
    assert all(name.startswith("listener_") for name in names)
    families = {family.name + ("_total" if family.type == "counter" else "") for family in metrics.registry.collect()}
    assert set(names) == families
