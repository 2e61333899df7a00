"""A daemon as an attester: a validation service of its own, or beside a performer."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from command import Called, Run, listener, quickly, running
from eth_abi.abi import encode
from following import BLOCKS, CONTRACT, PING_ABI, PINGS, ping, write_config

from listener.devnet.accounts import PERFORMER
from listener.devnet.aggregator import Aggregator
from listener.testing import FakeNode

PINGED = """
from listener import TaskResult, Verdict
async def execute(ctx):
    event = ctx.trigger.event
    return TaskResult(f"{ctx.trigger.block_number}+{event.log_index}", event.args["value"].to_bytes(32, "big"))
async def validate(ctx, claim):
    number, index = map(int, claim.proof_of_task.split("+"))
    again = await ctx.retrace(number, index)
    if again is None:
        return Verdict.reject(f"no ping at {number}, {index}")
    same = await execute(again) == TaskResult(claim.proof_of_task, claim.data)
    return Verdict.approve() if same else Verdict.reject("another value")
"""


def attesters_config(folder: Path, node: FakeNode, rules: str) -> Path:
    """Write what an attester needs: chains, contracts and rules, and nothing else."""
    (folder / "Ping.json").write_text(json.dumps(PING_ABI))
    (folder / "pinged.py").write_text(PINGED)
    path = folder / "config.toml"
    path.write_text(
        f"[chains.l2]\nendpoints = {json.dumps([node.ws_url, node.http_url])}\nchain_id = 31337\n"
        f'[contracts.ping]\nchain = "l2"\naddress = "{CONTRACT}"\nabi = "Ping.json"\n'
        f'[http]\nbind = "127.0.0.1:0"\nvalidate_bind = "127.0.0.1:0"\n{rules}'
    )
    return path


def claim(proof: str, data: bytes = b"", definition: int = 0, performer: str = PERFORMER.address) -> dict[str, Any]:
    return {
        "proofOfTask": proof,
        "data": f"0x{data.hex()}",
        "taskDefinitionId": definition,
        "performer": performer,
    }


async def urls(run: Run, count: int) -> list[str]:
    def found() -> list[str]:
        return [line["url"] for line in run.lines if line["event"] == "http.listening"]

    await run.until(lambda: len(found()) == count)
    return found()


async def ask(url: str, body: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/task/validate", data=json.dumps(body)) as response,
    ):
        return response.status, await response.json()


async def test_an_attester_needs_no_key_no_aggregator_and_keeps_no_journal(node: FakeNode, tmp_path: Path) -> None:
    await node.mine(ping(value=7), ping(value=8, transaction="u"))
    config = attesters_config(tmp_path, node, PINGS.replace("echo", "pinged"))
    value = encode(["uint256"], [8])
    async with running(config, "--role", "attester") as run:
        for url in await urls(run, 2):
            assert await ask(url, claim("11+1", value)) == (200, {"data": True, "error": False, "message": None})
            lower = claim("11+1", value, performer=PERFORMER.address.lower())
            assert (await ask(url, lower))[1]["data"] is True
            assert await ask(url, claim("11+0", value)) == (
                200,
                {"data": False, "error": False, "message": "another value"},
            )
            assert (await ask(url, claim("11+2", value)))[1]["message"] == "no ping at 11, 2"
            assert await ask(url, claim("x")) == (
                503,
                {"data": False, "error": True, "message": "validate raised ValueError"},
            )
            assert (await ask(url, claim("11+1", definition=9)))[0] == 404
            assert (await ask(url, [1]))[0] == 400
        status = await quickly("status", "--json", "--url", (await urls(run, 2))[0], config=config)
        assert status.objects == [{"ready": True, "reasons": [], "chains": [], "tasks": {}, "errors": []}], status.err
        run.process.terminate()
        assert await run.ended() == 0
    assert not [name for name in os.listdir(tmp_path) if "listener.db" in name]  # noqa: PTH208
    unsure = [line for line in run.lines if line["event"] == "claim.unsure"]
    assert "invalid literal for int" in unsure[0]["reason"], "the operator is told what the client is not"


async def test_a_claim_is_judged_by_the_chain_as_it_is_now(node: FakeNode, tmp_path: Path) -> None:
    await node.mine(ping(value=7))
    config = attesters_config(tmp_path, node, PINGS.replace("echo", "pinged"))
    moved = claim("12+0", encode(["uint256"], [7]))
    async with running(config, "--role", "attester") as run:
        url = (await urls(run, 2))[0]
        assert (await ask(url, claim("11+0", encode(["uint256"], [7]))))[1]["data"] is True
        looks = node.count("eth_getBlockByNumber")
        early = asyncio.ensure_future(ask(url, moved))
        await run.until(lambda: node.count("eth_getBlockByNumber") > looks)
        node.chain.fork(1)
        await node.mine()
        await node.mine(ping(value=7))
        assert (await early)[1]["data"] is True, "a block that is not there yet is waited for"
        assert (await ask(url, claim("11+0", encode(["uint256"], [8]))))[1]["message"] == "no ping at 11, 0"
        status, answer = await ask(url, claim("9000+0"))
        assert (status, answer["message"]) == (503, "validate raised ChainUnavailable")


async def test_a_performer_alone_judges_nobody_and_says_so(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS, aggregator=aggregator.url)
    async with running(config) as run:
        (url,) = await urls(run, 1)
        status, answer = await ask(url, claim("11+x"))
    assert (status, answer["data"], answer["error"]) == (404, False, True)
    assert "start it with --role both" in answer["message"]


async def test_both_roles_in_one_process(node: FakeNode, aggregator: Aggregator, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS, aggregator=aggregator.url)
    async with running(config, "--role", "both") as run:
        (url,) = await urls(run, 1)
        await run.logged("chain.begun")
        await node.mine()
        await run.until(lambda: aggregator.accepted)
        sent = aggregator.accepted[0]
        good = claim(sent.proof_of_task, sent.data, sent.task_definition_id)
        assert (await ask(url, good))[1] == {"data": True, "error": False, "message": None}
        status, answer = await ask(url, {**good, "data": "0x"})
        assert (status, answer["data"]) == (200, False)


@pytest.mark.parametrize(
    ("called", "words", "rules", "said"),
    [
        (
            listener,
            ("--role", "attester"),
            PINGS,
            "no rule's task has a function validate, so there is nothing to judge",
        ),
        (quickly, ("--role", "attester", "--resume-at", "latest"), BLOCKS, "an attester has no journal to go on with"),
        (quickly, ("--role", "judge"), BLOCKS, "judge is not a role; it is performer, attester or both"),
    ],
)
async def test_what_cannot_be_an_attester_says_why_and_exits_2(
    node: FakeNode, tmp_path: Path, called: Called, words: tuple[str, ...], *, rules: str, said: str
) -> None:
    answer = await called("run", *words, config=write_config(tmp_path, [node.ws_url], rules))
    assert answer.code == 2
    assert said in " ".join(answer.err.replace("│", " ").split())
    assert "Traceback" not in answer.err


async def test_a_configuration_for_both_serves_an_attester_that_lacks_its_secrets(
    node: FakeNode, tmp_path: Path
) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS)
    text = config.read_text()
    text = text.replace('{ file = "performer.key" }', '{ env = "NOT_HERE" }')
    text = text.replace('url = "sqlite:///listener.db"', 'url = { env = "NOR_THIS" }')
    config.write_text(text.replace('url = "http://127.0.0.1:9"', 'url = { env = "NOR_THAT" }'))
    assert (await listener("run", config=config)).code == 2
    async with running(config, "--role", "attester") as run:
        await urls(run, 1)
        run.process.terminate()
        assert await run.ended() == 0
