"""Whatever the daemon bears is one row, which an operator lists with the real command while the daemon runs."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from command import quickly
from following import BLOCKS, Following, following, write_config

from listener.chains import websocket
from listener.follower import finality
from listener.testing import FakeNode

FOLLOWER = "follower"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "LONGEST_PAUSE_S", 0.2)
    monkeypatch.setattr(finality, "EVERY_S", 0.0)


async def listed(config: Path, *words: str) -> list[dict[str, Any]]:
    answer = await quickly("incidents", "list", "--json", *words, config=config)
    assert (answer.code, answer.err) == (0, "")
    return answer.objects


def kinds(daemon: Following) -> list[str]:
    return [row["kind"] for row in daemon.query("SELECT kind FROM incidents ORDER BY id")]


def ended(daemon: Following) -> bool:
    rows = daemon.query("SELECT ended_at FROM incidents")
    return bool(rows) and all(row["ended_at"] is not None for row in rows)


@pytest.mark.parametrize("start", ["0", '"latest"'])
@pytest.mark.parametrize("line", ["ws_url", "http_url"])
async def test_ordinary_running_makes_no_incident(node: FakeNode, tmp_path: Path, line: str, start: str) -> None:
    config = write_config(tmp_path, [getattr(node, line)], BLOCKS, chain=f"start = {start}")
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine()
        await daemon.walked(11)
        await node.mine(count=40)
        await daemon.walked(51)
        assert await listed(config) == []
    async with following(config, FOLLOWER) as daemon:
        await node.mine()
        await daemon.walked(52)
        assert kinds(daemon) == []


async def test_a_reorg_is_one_row(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS)
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine(count=5)
        await daemon.walked(15)
        node.chain.fork(3)
        node.chain.add(count=4)
        await node.push(node.chain.head)
        await daemon.walked(16)
        (row,) = await listed(config)
    assert (row["kind"], row["chain"], row["count"]) == ("reorg", "l2", 1)
    assert (row["from_block"], row["to_block"], row["depth"]) == (13, 15, 3)
    assert row["started_at"] == row["ended_at"]
    assert row["detail"] == "3 unsent tasks cancelled, 0 sent ones orphaned"


async def test_a_halt_is_one_row_that_is_open_while_it_lasts(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS)
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(10)
        node.chain.final = 15
        await node.mine(count=9)
        await daemon.walked(19)
        await node.mine()
        await daemon.until(lambda: daemon.cursor == 20 and daemon.chain["final"] == 15)
        old = node.chain.fork(6)
        await node.mine(count=8)
        await daemon.until(lambda: daemon.chain["halted"])
        (row,) = await listed(config, "--kind", "halt")
        assert (row["ended_at"], row["from_block"], row["to_block"], row["count"]) == (None, 20, 20, 1)
        assert row["detail"] == daemon.chain["halted"]
        node.chain.fork(8)
        node.chain.return_to(old)
        await node.mine()
        await daemon.walked(21)
        (row,) = await listed(config)
        assert row["ended_at"] > row["started_at"]


@pytest.mark.parametrize("cut", ["reset", "restart"])
async def test_a_cut_line_is_one_reconnect_and_what_was_missed_one_gap(
    node: FakeNode, tmp_path: Path, cut: str
) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS)
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine()
        await daemon.walked(11)
        if cut == "reset":
            node.chain.add(count=3)
            node.reset()
        else:
            await node.close()
            node.chain.add(count=3)
            await daemon.until(lambda: kinds(daemon) == ["reconnect"])
            assert not ended(daemon)
            await node.start()
        await daemon.walked(14)
        await daemon.until(lambda: node.lines == 1 and ended(daemon))
        await node.mine()
        await daemon.walked(15)
        reconnect, gap = await listed(config)
    assert (reconnect["kind"], reconnect["count"], reconnect["from_block"]) == ("reconnect", 1, None)
    assert reconnect["ended_at"] > reconnect["started_at"]
    assert (gap["kind"], gap["from_block"], gap["to_block"], gap["count"]) == ("gap", 12, 14, 1)
    assert gap["detail"] == "3 blocks of which no line told were read afterwards"


async def test_a_lost_line_is_a_row_even_where_another_endpoint_answers(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url, node.http_url], BLOCKS)
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(10)
        await daemon.until(lambda: node.lines == 1)
        node.reset()
        await daemon.until(lambda: kinds(daemon) == ["reconnect"] and ended(daemon))


async def test_heads_that_a_standing_line_does_not_tell_of_are_a_gap(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS)
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(10)
        await node.mine()
        await daemon.walked(11)
        node.chain.add(count=3)
        await node.mine()  # block 15 is told of
        await daemon.walked(15)
        (row,) = await listed(config, "--chain", "l2", "--since", "2020-01-01T00:00:00Z")
    assert (row["kind"], row["from_block"], row["to_block"], row["count"]) == ("gap", 12, 14, 1)


async def test_what_came_while_the_daemon_was_down_is_a_gap(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.http_url], BLOCKS)
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(10)
    node.chain.add(count=50)
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(60)
        (row,) = await listed(config)
    assert (row["kind"], row["from_block"], row["to_block"], row["count"]) == ("gap", 11, 60, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--kind", "flood"), "flood is not a kind; known: "),
        (("--kind", "gap", "--kind", "reorgs"), "reorgs is not a kind; did you mean reorg?"),
        (("--chain", "l3"), "no chain l3; known: l2, former"),
        (("--chain", "foermer"), "no chain foermer; did you mean former?"),
        (("--since", "noon"), "noon is not a time"),
    ],
)
async def test_a_mistake_in_its_use_is_one_line(
    node: FakeNode, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    config = write_config(tmp_path, [node.http_url], BLOCKS)
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(10)
    with closing(sqlite3.connect(daemon.path)) as connection, connection:
        connection.execute("INSERT INTO incidents (kind, chain, started_at, detail) VALUES ('gap', 'former', 1, 'x')")
    answer = await quickly("incidents", "list", *words, config=config)
    assert (answer.code, answer.out) == (2, "")
    assert said in " ".join(answer.err.replace("│", " ").split())
    assert "Traceback" not in answer.err
