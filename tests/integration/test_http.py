"""The HTTP side of a running daemon."""

import signal
import socket
from contextlib import closing
from pathlib import Path

from command import listener, running
from following import BLOCKS, write_config

from listener.devnet.aggregator import Aggregator
from listener.testing import FakeNode


async def test_a_port_that_is_taken_is_one_clear_line_and_exit_1(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        config = write_config(
            tmp_path, [node.ws_url], BLOCKS, aggregator=aggregator.url, http=f'validate_bind = "{bind}"'
        )
        answer = await listener("run", config=config)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == (
        f"listener: http.validate_bind {bind}: cannot listen there: Address already in use; "
        "write another in config.toml, or end the process that has it\n"
    )


async def test_a_bind_that_others_reach_needs_a_token(node: FakeNode, aggregator: Aggregator, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS, aggregator=aggregator.url)
    config.write_text(config.read_text().replace("127.0.0.1:0", "0.0.0.0:0"))
    answer = await listener("run", config=config)
    assert answer.code == 2
    assert "bind 0.0.0.0:0 is reached from other machines, and that needs a token" in answer.err
    assert len(answer.err.splitlines()) == 1


async def test_a_daemon_serves_as_soon_as_it_runs_and_until_it_stops(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS, aggregator=aggregator.url)
    async with running(config) as run:
        await run.logged("http.listening")
        run.process.send_signal(signal.SIGTERM)
        assert await run.ended() == 0
