"""A websocket that is open but tells of nothing is found by the chain's own block time, and replaced."""

from pathlib import Path

import pytest
from following import BLOCKS, following, write_config
from structlog.testing import capture_logs

from listener.chains import silence
from listener.testing import FakeNode

FOLLOWER = "follower"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "SHORTEST_S", 0.3)
    monkeypatch.setattr(silence, "BLOCKS", 0.3)  # the scripted chain's blocks are a second apart


@pytest.mark.parametrize("company", ["alone", "with http"])
async def test_a_deaf_line_is_replaced_long_before_the_longest_silence_and_pushes_again(
    node: FakeNode, tmp_path: Path, company: str
) -> None:
    """The follower looks by itself after ``silence`` alone: an hour here, so that only the watchdog can find it."""
    urls = [node.ws_url, *([node.http_url] if company == "with http" else [])]
    with capture_logs() as lines:
        async with following(write_config(tmp_path, urls, BLOCKS, chain='silence = "1h"'), FOLLOWER) as daemon:
            await daemon.walked(10)
            await daemon.until(lambda: node.lines == 1)
            await node.mine(count=3)
            await daemon.walked(13)
            node.deaf = True
            await node.mine(count=2)
            await daemon.walked(15)
            await daemon.until(lambda: node.connections >= 2 and node.lines == 1)
            node.deaf = False
            await node.mine(count=2)
            await daemon.walked(17)
    dropped = [line for line in lines if line["event"] == "websocket.dropped"]
    assert dropped[0]["reason"] == "blocks came that it did not tell of"
    assert daemon.states() == [(number, "pending") for number in range(11, 18)]


async def test_one_of_two_lines_that_is_deaf_is_replaced_and_the_other_left_alone(
    node: FakeNode, tmp_path: Path
) -> None:
    async with FakeNode(node.chain) as second:
        config = write_config(tmp_path, [node.ws_url, second.ws_url], BLOCKS, chain='silence = "1h"')
        async with following(config, FOLLOWER) as daemon:
            await daemon.walked(10)
            await daemon.until(lambda: node.lines == 1 and second.lines == 1)
            block = await node.mine()
            await second.push(block)
            await daemon.walked(11)

            async def one_more() -> bool:
                await second.push(node.chain.add())
                await daemon.walked(node.chain.head.number)
                return node.connections >= 2

            for _ in range(400):
                if await one_more():
                    break
            else:
                pytest.fail("the deaf line was not replaced")
        assert second.connections == 1


async def test_while_the_chain_stands_still_a_line_is_asked_about_less_and_less(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS, chain='silence = "1h"')
    async with following(config, FOLLOWER) as daemon:
        await daemon.walked(10)
        await daemon.until(lambda: node.lines == 1)
        await node.mine(count=2)
        await daemon.walked(12)
        asked = node.count("eth_getBlockByNumber")
        await daemon.until(lambda: node.count("eth_getBlockByNumber") >= asked + 2)
    assert node.connections == 1


async def test_a_line_that_was_away_is_not_taken_for_deaf_by_the_blocks_of_that_time(
    node: FakeNode, tmp_path: Path
) -> None:
    async with FakeNode(node.chain) as second:
        config = write_config(tmp_path, [node.ws_url, second.ws_url], BLOCKS, chain='silence = "1h"')
        with capture_logs() as lines:
            async with following(config, FOLLOWER) as daemon:
                await daemon.walked(10)
                await daemon.until(lambda: node.lines == 1 and second.lines == 1)
                block = await node.mine()
                await second.push(block)
                await daemon.walked(11)
                await node.close()
                await second.push(node.chain.add())
                await second.push(node.chain.add())
                await daemon.walked(13)
                await node.start()
                await daemon.until(lambda: node.lines == 1)
                asked = node.count("eth_getBlockByNumber") + second.count("eth_getBlockByNumber")
                await daemon.until(
                    lambda: node.count("eth_getBlockByNumber") + second.count("eth_getBlockByNumber") >= asked + 6
                )
    assert [line for line in lines if line["event"] == "websocket.dropped"] == []
    assert node.connections == 2
