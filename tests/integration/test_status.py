"""``listener status`` shows what a running daemon says, and says so where none answers."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE
from contextlib import closing
from pathlib import Path

import pytest
from asking import ready, unready
from command import LIMIT_S, environment, quickly
from following import BLOCKS, following, write_config
from structlog.testing import capture_logs

from listener.devnet import child
from listener.devnet.aggregator import Aggregator
from listener.testing import FakeNode


async def test_it_shows_chains_tasks_and_errors(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    config = write_config(tmp_path, [node.ws_url], BLOCKS, aggregator=aggregator.url, http='token = "word-by-word"')
    with capture_logs():  # the command writes where the daemon in this process would
        await show(node, config, monkeypatch)


def rewrite(config: Path, old: str, new: str) -> None:
    config.write_text(config.read_text().replace(old, new))


async def show(node: FakeNode, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with following(config) as daemon:
        await ready(daemon.url)
        await node.mine(count=3)
        await daemon.until(lambda: [state for _, state in daemon.states()] == ["accepted"] * 3)
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # the token is for the daemon alone
        answer = await quickly("status", "--json", "--url", daemon.url, config=config)
        assert answer.code == 0, answer.err
        (found,) = answer.objects
        assert (found["ready"], found["reasons"], found["errors"]) == (True, [], [])
        assert found["tasks"] == {"blocks": {"accepted": 3}}
        assert [(chain["name"], chain["cursor"], chain["lag"]) for chain in found["chains"]] == [("l2", 13, 0)]
        answer = await quickly("status", "--url", daemon.url, config=config)
        assert (answer.code, answer.out.splitlines()[0]) == (0, "ready")
        assert "accepted" in answer.out
        await node.close()
        await unready(daemon.url, "no endpoint is connected")
        answer = await quickly("status", "--url", daemon.url, config=config)
        assert answer.out.splitlines()[:2] == ["not ready", "  chain l2: no endpoint is connected"]
        rewrite(config, "word-by-word", "other-words")
        answer = await quickly("status", "--url", daemon.url, config=config)
        assert (answer.code, answer.out) == (1, "")
        assert answer.err.startswith(f"listener: {daemon.url}/api/status: HTTP 401: send Authorization: Bearer TOKEN")


async def test_watching_goes_on_until_it_is_interrupted(node: FakeNode, aggregator: Aggregator, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS, aggregator=aggregator.url)
    async with following(config) as daemon:
        await ready(daemon.url)
        command = (sys.executable, "-P", "-m", "listener", "status", "--watch", "--json", "--url", daemon.url)
        process = await child.start(
            *command, "--config", str(config), stdout=PIPE, stderr=PIPE, environment=environment()
        )
        assert process.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            shown = [json.loads(await process.stdout.readline()) for _ in range(2)]
            process.send_signal(signal.SIGINT)
            out, err = await process.communicate()
        assert [each["ready"] for each in shown] == [True, True]
        assert (process.returncode, out, err) == (0, b"", b"")


async def test_where_no_daemon_answers_it_says_what_to_do(tmp_path: Path) -> None:
    config = write_config(tmp_path, ["ws://127.0.0.1:9"], BLOCKS)
    answer = await quickly("status", config=config)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == (
        "listener: http.bind 127.0.0.1:0: a free port was taken; its log names it (http.listening): give it as --url\n"
    )
    answer = await quickly("status", "--url", "http://127.0.0.1:9", config=config)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == (
        "listener: http://127.0.0.1:9: no daemon answers there: Connection refused; "
        "start it with `listener run`, or give --url\n"
    )


@pytest.mark.parametrize(
    "said",
    [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b"HTTP/1.1 404 No\r\n\r\n"],
)
async def test_what_answers_and_is_no_daemon_is_one_line(tmp_path: Path, said: bytes) -> None:
    async def answer_so(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await reader.read(1)
            writer.write(said)

    config = write_config(tmp_path, ["ws://127.0.0.1:9"], BLOCKS)
    async with await asyncio.start_server(answer_so, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        answer = await quickly("status", "--url", f"http://127.0.0.1:{port}", config=config)
    assert (answer.code, answer.out) == (1, "")
    assert len(answer.err.splitlines()) == 1
