"""Whatever the aggregator does: each task is taken once, with the same bytes at every try, or ends as a dead letter."""

from pathlib import Path

import pytest
from following import BLOCKS, Following, following, write_config

from listener.testing import FakeAggregator, FakeNode, Fault

TRIED_AGAIN = {
    "slow": Fault.slow(0.05),
    "hangs": Fault.hang(),
    "status 500": Fault.answered(500),
    "HTML": Fault.html(),
    "HTML with status 502": Fault.html(502),
    "garbage": Fault.answered(200, b"\x00\xff{"),
    "an empty answer": Fault.answered(200),
    "an error in an answer of status 200": Fault.error(-32603, "no attesters are connected"),
    "behind": Fault.behind(),
    "the answer closed away": Fault.lost("close"),
    "the answer reset away": Fault.lost("reset"),
    "the answer that never comes": Fault.lost("hang"),
    "closed": Fault.cut("close"),
    "reset": Fault.cut("reset"),
}
LASTING = {name: fault for name, fault in TRIED_AGAIN.items() if not fault.takes}
MORE = "timeout_s = 0.3\n"


def config(folder: Path, node: FakeNode, fake: FakeAggregator, more: str = MORE) -> Path:
    written = write_config(folder, [node.ws_url], BLOCKS, aggregator=fake.url)
    text = written.read_text()
    written.write_text(text.replace(f'url = "{fake.url}"\n', f'url = "{fake.url}"\n{more}'))
    return written


def check_sent_once(daemon: Following, fake: FakeAggregator, count: int) -> None:
    proofs = [call.proof_of_task for call in fake.accepted]
    assert len(proofs) == len(set(proofs)) == count
    assert fake.differing() == {}
    assert [row["already_known"] for row in daemon.rows] == [0] * count


@pytest.mark.parametrize("fault", TRIED_AGAIN.values(), ids=TRIED_AGAIN)
async def test_a_fault_that_passes_is_waited_out_with_identical_bytes(
    node: FakeNode, fake: FakeAggregator, tmp_path: Path, fault: Fault
) -> None:
    fake.faults += [fault] * 4
    async with following(config(tmp_path, node, fake)) as daemon:
        await daemon.walked(10)
        await node.mine(count=5)
        await daemon.until(lambda: daemon.states() == [(number, "accepted") for number in range(11, 16)])
        check_sent_once(daemon, fake, 5)
        assert len(fake.sent) == (5 if fault.pause_s else 9)


async def test_one_that_is_down_gets_everything_once_it_is_up(
    node: FakeNode, fake: FakeAggregator, tmp_path: Path
) -> None:
    await fake.close()
    async with following(config(tmp_path, node, fake)) as daemon:
        await daemon.walked(10)
        await node.mine(count=40)
        await daemon.until(lambda: [state for _, state in daemon.states()] == ["ready"] * 40)
        await fake.start()
        await daemon.until(lambda: {state for _, state in daemon.states()} == {"accepted"})
        check_sent_once(daemon, fake, 40)


@pytest.mark.parametrize("fault", LASTING.values(), ids=LASTING)
async def test_a_fault_that_lasts_ends_in_a_dead_letter_with_its_reason(
    node: FakeNode, fake: FakeAggregator, tmp_path: Path, fault: Fault
) -> None:
    fake.always = fault
    async with following(config(tmp_path, node, fake, MORE + 'give_up_after = "1s"\n')) as daemon:
        await daemon.walked(10)
        await node.mine()
        await daemon.until(lambda: daemon.states() == [(11, "failed")])
        (row,) = daemon.rows
        assert row["sends"] > 1
        assert row["error"].startswith(f"gave up after {row['sends']} sends; the last: ")
        fake.always = None
        await node.mine()
        await daemon.until(lambda: daemon.states() == [(11, "failed"), (12, "accepted")])


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.answered(413), "HTTP 413"),
        (Fault.error(-32602, "proofOfTask: too long"), "too long"),
        (Fault.error(-32000, "execution reverted", data="0x57c3c396"), "0x57c3c396"),
    ],
)
async def test_what_the_same_bytes_can_never_pass_is_not_tried_again(
    node: FakeNode, fake: FakeAggregator, tmp_path: Path, fault: Fault, reason: str
) -> None:
    fake.faults.append(fault)
    async with following(config(tmp_path, node, fake)) as daemon:
        await daemon.walked(10)
        await node.mine()
        await daemon.until(lambda: daemon.states() == [(11, "failed")])
        await node.mine()
        await daemon.until(lambda: daemon.states() == [(11, "failed"), (12, "accepted")])
        assert reason in daemon.rows[0]["error"]
        assert [row["sends"] for row in daemon.rows] == [1, 1]


async def test_what_somebody_else_sent_before_is_flagged(node: FakeNode, fake: FakeAggregator, tmp_path: Path) -> None:
    fake.faults.append(Fault.known())
    async with following(config(tmp_path, node, fake)) as daemon:
        await daemon.walked(10)
        await node.mine()
        await daemon.until(lambda: daemon.states() == [(11, "accepted")])
        assert daemon.rows[0]["already_known"] == 1


async def test_a_restart_in_the_middle_of_lost_answers_sends_the_same_bytes(
    node: FakeNode, fake: FakeAggregator, tmp_path: Path
) -> None:
    fake.always = Fault.lost("reset")
    written = config(tmp_path, node, fake)
    for _ in range(3):
        async with following(written) as daemon:
            await daemon.walked(10)
            await node.mine(count=3)
            await daemon.until(lambda: len({call.proof_of_task for call in fake.sent}) == len(daemon.rows) > 0)
    fake.always = None
    async with following(written) as daemon:
        await daemon.until(lambda: len(daemon.rows) == 9 and {state for _, state in daemon.states()} == {"accepted"})
        check_sent_once(daemon, fake, 9)
