"""The daemon's own answer to the health check that others make, over real HTTP."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils.crypto import keccak
from following import BLOCKS, following, write_config

from listener import app, handlers
from listener.config import load, matchers
from listener.devnet.accounts import PERFORMER
from listener.signing import Signer
from listener.testing import FakeNode
from listener.web import Server, healthcheck

HTTP = "healthcheck = true"


async def ask(url: str, body: Any) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/healthcheck", json=body) as response:
        return response.status, await response.json(content_type=None) if response.status != 404 else None


def asking(number: Any, **changed: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": "healthcheck", "params": [number], **changed}


async def test_it_answers_a_blocks_hash_with_the_performers_signature(
    node: FakeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed: list[bytes] = []
    sign = Signer.sign_block_hash
    monkeypatch.setattr(Signer, "sign_block_hash", lambda self, given: signed.append(given) or sign(self, given))
    monkeypatch.setattr(healthcheck, "FRESH_S", 60.0)
    config = write_config(tmp_path, [node.ws_url], BLOCKS, http=HTTP)
    async with following(config) as daemon:
        await daemon.walked(10)
        status, answer = await ask(daemon.url, asking(9))
        block_hash = f"0x{node.chain.blocks[9].hash.hex()}"
        result = answer["result"]
        assert (status, answer["jsonrpc"], answer["id"]) == (200, "2.0", 7)
        assert result.keys() == {"blockHash", "signature", "address"}
        assert (result["blockHash"], result["address"]) == (block_hash, PERFORMER.address)
        message = encode_defunct(keccak(hexstr=block_hash))
        assert Account.recover_message(message, signature=result["signature"]) == PERFORMER.address
        digest = keccak(b"\x19Ethereum Signed Message:\n32" + keccak(node.chain.blocks[9].hash))  # written out
        assert Account._recover_hash(digest, signature=result["signature"]) == PERFORMER.address
        expected = Account.sign_message(message, PERFORMER.private_key)
        assert result["signature"] == f"0x{bytes(expected.signature).hex()}"
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(ask(daemon.url, asking(9)))
        assert signed == [node.chain.blocks[9].hash], "a block is read and signed once, however many ask"


async def test_it_signs_nothing_but_recent_blocks_that_it_knows(
    node: FakeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healthcheck, "RECENT", 5)
    monkeypatch.setattr(healthcheck, "PATIENCE_S", 0.0)
    monkeypatch.setattr(healthcheck, "REQUESTS_PER_S", 1000)
    config = write_config(tmp_path, [node.ws_url], BLOCKS, http=HTTP)
    async with following(config) as daemon:
        await daemon.walked(10)
        for number in (4, 11, 13, -1, 2**64):
            assert (await ask(daemon.url, asking(number)))[1]["error"]["code"] == healthcheck.NO_BLOCK, number
        wrong: list[Any] = [asking(each) for each in ("0x9", True, 9.5, None, [9], {"n": 9}, "0x" + "ab" * 32)]
        wrong += [asking(9, params=[9, 9]), asking(9, params=None), asking(9, method="sign"), asking(9, method=None)]
        wrong += [asking(9, id={}), asking(9, id="x" * 257), asking(9, id=True), [[asking(9)]], "healthcheck", 9]
        for body in wrong:
            status, answer = await ask(daemon.url, body)
            assert (status, answer["error"], answer["data"]) == (400, True, None), body
        assert "result" in (await ask(daemon.url, asking(9)))[1]


async def test_a_block_that_is_on_its_way_is_waited_for(
    node: FakeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healthcheck, "PATIENCE_S", 20.0)
    config = write_config(tmp_path, [node.ws_url], BLOCKS, http=HTTP)
    async with following(config) as daemon:
        await daemon.walked(10)
        looked = node.count("eth_getBlockByNumber")
        early = asyncio.ensure_future(ask(daemon.url, asking(11)))
        await daemon.until(lambda: node.count("eth_getBlockByNumber") > looked)
        await node.mine()
        assert (await early)[1]["result"]["blockHash"] == f"0x{node.chain.blocks[11].hash.hex()}"


async def test_one_client_may_not_ask_without_end_and_another_still_may(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS, http=HTTP)
    async with following(config) as daemon:
        await daemon.walked(10)
        found = [(await ask(daemon.url, asking(9)))[0] for _ in range(3 * healthcheck.REQUESTS_PER_S)]
        assert found[0] == 200
        assert 429 in found


async def test_without_the_setting_nobody_answers(node: FakeNode, tmp_path: Path) -> None:
    async with following(write_config(tmp_path, [node.ws_url], BLOCKS)) as daemon:
        assert (await ask(daemon.url, asking(9)))[0] == 404


async def test_the_batch_of_an_ethers_client_is_answered_in_order(node: FakeNode, tmp_path: Path) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS, http=HTTP)
    async with following(config) as daemon:
        await daemon.walked(10)
        batch = [asking(0, method="eth_chainId", params=[], id=1), asking(9, id=2), asking(99, id=3)]
        status, (chain, healthy, unknown) = await ask(daemon.url, batch)
        assert (status, chain) == (200, {"jsonrpc": "2.0", "id": 1, "result": "0x7a69"})
        assert (healthy["id"], healthy["result"]["blockHash"]) == (2, f"0x{node.chain.blocks[9].hash.hex()}")
        assert (unknown["id"], unknown["error"]["code"]) == (3, -32000)
        for wrong in ([], [asking(9)] * 5, [asking(9), 7], [asking(9), asking(9, method="sendTask")]):
            assert (await ask(daemon.url, wrong))[0] == 400


async def test_an_attester_alone_says_that_it_has_no_key(node: FakeNode, tmp_path: Path) -> None:
    settings = load(write_config(tmp_path, [node.ws_url], BLOCKS, http=HTTP), {}, performs=False)
    stop = asyncio.Event()
    async with AsyncExitStack() as edges:
        found = handlers.load(settings.rules, tmp_path)
        stages = await app.attend(settings, matchers(settings), found, edges)
        serving = asyncio.create_task(app.serve(stages, stop))
        status, answer = await ask(next(stage.url for stage in stages if isinstance(stage, Server)), asking(9))
        assert (status, answer["id"], answer["error"]["code"]) == (200, 7, -32000)
        assert answer["error"]["message"].startswith("this is an attester alone, which has no key to sign with")
        stop.set()
        await serving


def test_what_is_no_hash_is_not_signed() -> None:
    signer = Signer(PERFORMER.private_key)
    for message in (b"", b"x" * 31, b"x" * 33, b"send all the money"):
        with pytest.raises(ValueError, match="32 bytes"):
            signer.sign_block_hash(message)
