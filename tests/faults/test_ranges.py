"""What an endpoint does not give at once is read in pieces; the cursor never passes what was not read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from following import BLOCKS, CONTRACT, PINGS, Following, following, ping, write_config

from listener.testing import DIALECTS, Emitted, FakeNode, HttpAnswer, logs_up_to, refuses_ranges
from listener.testing.faults import After

FOLLOWER = "follower"
NAMED = {"alchemy", "infura, by width", "quicknode", "geth", "erigon"}
OTHER = "0x00000000000000000000000000000000000000aa"
OTHERS = f"""
[contracts.other]
chain = "l2"
address = "{OTHER}"
abi = "Ping.json"
{PINGS.replace('"pings"', '"others"').replace('contract = "ping"', 'contract = "other"')}
"""


@pytest.fixture(autouse=True)
def _long(node: FakeNode) -> None:
    """A chain of 310 blocks with a log in every thirtieth; up to 300 is final."""
    for _ in range(10):
        node.chain.add(ping(), count=30)
    node.chain.final = 300


def queries(node: FakeNode) -> Sequence[tuple[int, int]]:
    found = [params[0] for method, params in node.calls if method == "eth_getLogs"]
    return [(int(q["fromBlock"], 16), int(q["toBlock"], 16)) for q in found if "fromBlock" in q]


def check(daemon: Following) -> None:
    assert [number for number, _ in daemon.states("pings")] == list(range(40, 311, 30))


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_range_is_as_wide_as_the_provider_takes_in_its_own_words(
    node: FakeNode, tmp_path: Path, dialect: str
) -> None:
    node.before = refuses_ranges(dialect, 23)
    async with following(write_config(tmp_path, [node.http_url], PINGS, chain="start = 11"), FOLLOWER) as daemon:
        await daemon.walked(310)
    check(daemon)
    refused = [(first, last) for first, last in queries(node) if last - first >= 23]
    read = [(first, last) for first, last in queries(node) if last - first < 23]
    assert {number for first, last in read for number in range(first, last + 1)} >= set(range(11, 237))
    if dialect in NAMED:
        assert len(refused) == 1, "what was said once is kept"
        assert max(last - first + 1 for first, last in read) == 23
    else:
        assert len(refused) <= 6


def gateway_up_to(count: int) -> After:
    """Refuse what is larger as a gateway in front of the node does, in HTML."""

    def after(method: str, _params: list[Any], result: Any) -> Any:
        if method == "eth_getLogs" and len(result) > count:
            raise HttpAnswer(413, "<html>Request Entity Too Large</html>")
        return result

    return after


@pytest.mark.parametrize("refused", [logs_up_to(40), gateway_up_to(40)], ids=["node", "gateway"])
async def test_a_single_block_that_is_too_much_is_read_in_parts(node: FakeNode, tmp_path: Path, refused: After) -> None:
    other = [Emitted(OTHER, ping().topics, ping(value=n).data) for n in range(30)]
    mixed = [log for n in range(30) for log in (ping(value=n), other[n])]
    node.chain.add(*mixed)
    node.after = refused
    async with following(write_config(tmp_path, [node.http_url], PINGS + OTHERS), FOLLOWER) as daemon:
        await daemon.walked(311)
        await node.mine(*mixed)
        await daemon.walked(312)
    logs = [(row["rule"], row["log_index"]) for row in daemon.rows]
    assert logs == [("pings" if index % 2 == 0 else "others", index) for index in range(60)]


async def test_a_block_that_one_endpoint_cannot_give_in_any_part_is_read_from_another(
    node: FakeNode, tmp_path: Path
) -> None:
    node.after = logs_up_to(5, "Response is too big", -32008)
    async with FakeNode(node.chain) as second:
        config = write_config(tmp_path, [node.ws_url, second.http_url], PINGS)
        async with following(config, FOLLOWER) as daemon:
            await daemon.walked(310)
            await node.mine(*[ping(value=n) for n in range(20)])
            await daemon.walked(311)
    assert [row["log_index"] for row in daemon.rows] == list(range(20))


@pytest.mark.parametrize("place", ["head", "gap"])
async def test_a_block_that_nobody_gives_is_waited_for_and_never_skipped(
    node: FakeNode, tmp_path: Path, place: str
) -> None:
    node.after = logs_up_to(5)
    if place == "gap":
        node.chain.add(*[ping(value=n) for n in range(20)])
        node.chain.add(count=100)
        node.chain.final = 405
    config = write_config(
        tmp_path, [node.http_url], PINGS, chain="start = 301" if place == "gap" else 'start = "latest"'
    )
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(310)
        if place == "head":
            await node.mine(*[ping(value=n) for n in range(20)])
            await node.mine()
        asked = node.count("eth_getLogs")
        await daemon.until(lambda: node.count("eth_getLogs") >= asked + 5)
        assert daemon.cursor == 310
        node.after = None
        await daemon.walked(node.chain.head.number)
    assert [row["log_index"] for row in daemon.rows if row["block_number"] == 311] == list(range(20))


@pytest.mark.parametrize("transport", ["ws", "http"])
@pytest.mark.parametrize("megabytes", [1.2, 30])
async def test_a_large_reply_is_read_whole(node: FakeNode, tmp_path: Path, transport: str, megabytes: float) -> None:
    url = node.ws_url if transport == "ws" else node.http_url
    padding = bytes(int(megabytes * 500_000 / 40))  # as hex, in each of 40 logs
    async with following(write_config(tmp_path, [url], PINGS + BLOCKS), FOLLOWER) as daemon:
        await daemon.walked(310)
        big = [Emitted(CONTRACT, log.topics, log.data + padding) for log in (ping(value=n) for n in range(40))]
        await node.mine(*big)
        await daemon.walked(311)
    assert [row["log_index"] for row in daemon.rows if row["rule"] == "pings"] == list(range(40))
