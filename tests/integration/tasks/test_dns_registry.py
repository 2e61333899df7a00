"""The DNS registry end to end: a daemon's parts, real DNS servers of other makers, and an attester that asks too."""

import asyncio
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from dnslib import RR
from dnslib.server import DNSLogger, DNSServer
from dnslib.zoneresolver import ZoneResolver
from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak

sys.path.insert(0, str(Path(__file__).parent.parent))
from following import following, vote, write_config

from listener.devnet.aggregator import Aggregator
from listener.devnet.names import Names
from listener.testing import Emitted, FakeNode
from tasks.dns_registry import key_of
from tasks.dns_resolvers import Answer, ask

ABI = Path(__file__).parents[3] / "abi/DomainRegistry.json"
REGISTRY = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
REQUESTER = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc"
YES = f"avs-requester={REQUESTER}"
KEY = "QUJD" * 100
LONG = [f"{number:02} {'x' * 200}" for number in range(12)]
DOMAIN = "example.test"


def free_port() -> int:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        udp.bind(tcp.getsockname())
        port: int = tcp.getsockname()[1]
        return port


def chunks(text: str) -> list[str]:
    return [text[start : start + 255] for start in range(0, len(text), 255)]


RECORDS: list[tuple[str, Sequence[str]]] = [
    (f"_avs-challenge.{DOMAIN}", [YES]),
    (f"s1._domainkey.{DOMAIN}", chunks(f"v=DKIM1; k=rsa; p={KEY}")),
    *((f"_avs-challenge.long.{DOMAIN}", [text]) for text in LONG),
]


@asynccontextmanager
async def dnsmasq(folder: Path) -> AsyncIterator[str]:
    """Debian's, as a process of its own."""
    port = free_port()
    config = folder / "dnsmasq.conf"
    lines = [f"txt-record={name},{','.join(json.dumps(text) for text in texts)}" for name, texts in RECORDS]
    lines += [f"host-record=bare.{DOMAIN},127.0.0.1", f"cname=alias.{DOMAIN},_avs-challenge.{DOMAIN}"]
    lines += [f"local=/{DOMAIN}/", f"port={port}", "listen-address=127.0.0.1", "bind-interfaces"]
    lines += ["no-resolv", "no-hosts", "keep-in-foreground", "user=root", "pid-file=", "log-facility=-"]
    config.write_text("\n".join(lines) + "\n")
    with (folder / "dnsmasq.log").open("wb") as log:
        server = subprocess.Popen(["dnsmasq", f"--conf-file={config}"], stdout=log, stderr=log)  # noqa: ASYNC220, S603, S607
        try:
            async with asyncio.timeout(20):
                while not _connects(port):
                    assert server.poll() is None, (folder / "dnsmasq.log").read_text()
                    await asyncio.sleep(0.01)
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(10)


def _connects(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@asynccontextmanager
async def dnslib() -> AsyncIterator[str]:
    """PyPI's, in threads."""
    port = free_port()
    lines = [f"{name}. 60 IN TXT {' '.join(json.dumps(text) for text in texts)}" for name, texts in RECORDS]
    lines += [f"bare.{DOMAIN}. 60 IN A 127.0.0.1", f"alias.{DOMAIN}. 60 IN CNAME _avs-challenge.{DOMAIN}."]
    zone = ZoneResolver("\n".join(lines))
    assert len(RR.fromZone("\n".join(lines))) == len(lines)
    quiet = DNSLogger("-request,-reply,-truncated,-error,-recv,-send,-data")
    servers = [DNSServer(zone, port=port, address="127.0.0.1", tcp=tcp, logger=quiet) for tcp in (False, True)]
    for each in servers:
        each.start_thread()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        for each in servers:
            await asyncio.to_thread(each.stop)
            each.server.server_close()


@pytest.fixture(params=["dnsmasq", "dnslib"])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A real DNS server's place."""
    if request.param == "dnsmasq" and shutil.which("dnsmasq") is None:
        pytest.skip("dnsmasq is not on the PATH: install Debian's dnsmasq-base, or PATH=$PATH:$(.ci/dnsmasq)")
    async with dnsmasq(tmp_path) if request.param == "dnsmasq" else dnslib() as place:
        yield place


async def asked(server: str, name: str) -> Answer:
    (answer,) = await ask(name, [server], 5)
    return answer


async def test_a_real_server_is_understood(server: str) -> None:
    found = await asked(server, f"_avs-challenge.{DOMAIN}")
    assert (found.status, found.texts) == ("NOERROR", [YES])
    assert (await asked(server, f"alias.{DOMAIN}")).texts == [YES]
    bare = await asked(server, f"bare.{DOMAIN}")
    assert bare.status in {"NODATA", "NXDOMAIN"}  # dnslib's zones know no difference
    assert not bare.texts
    assert (await asked(server, f"nowhere.{DOMAIN}")).status == "NXDOMAIN"
    assert (await asked(server, f"_avs-challenge.long.{DOMAIN}")).texts == LONG  # too long for UDP
    assert key_of(await asked(server, f"s1._domainkey.{DOMAIN}")) == KEY  # in chunks


async def test_a_server_that_is_not_there_says_nothing() -> None:
    (answer,) = await ask(DOMAIN, [f"127.0.0.1:{free_port()}"], 0.2)
    assert answer.status == "NONE"


def rule(resolvers: Sequence[str]) -> str:
    return (
        '[[rules]]\nname = "records"\ntask = "tasks.dns_registry"\ntask_definition_id = 7\nmax_attempts = 1\n'
        'trigger = { type = "event", contract = "domain_registry", event = "RecordRequested" }\n'
        f"settings = {{ resolvers = {json.dumps(list(resolvers))} }}\n"
    )


def request(number: int, domain: str) -> Emitted:
    topics = [
        keccak(text="RecordRequested(uint256,address,string,string,string)"),
        encode(["uint256"], [number]),
        encode(["address"], [REQUESTER]),
    ]
    return Emitted(REGISTRY, topics, encode(["string"] * 3, [domain, "A", "192.0.2.1"]), f"request {number}")


async def test_requests_are_answered_checked_accepted_and_approved_though_a_resolver_lies(
    server: str, node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    contract = f'[contracts.domain_registry]\nchain = "l2"\naddress = "{REGISTRY}"\nabi = "{ABI}"\n'
    everything = {DOMAIN: {"_avs-challenge": {"TXT": [YES]}}}
    lies = {DOMAIN: {"_avs-challenge": {"TXT": ["no"]}, "_avs-challenge.nowhere": {"TXT": [YES]}}}
    async with Names(everything) as honest, Names(lies) as liar:
        rules = rule([server, honest.resolver, liar.resolver])
        config = write_config(tmp_path, [node.ws_url], rules, aggregator=aggregator.url, more=contract)
        async with following(config, attests=True) as daemon:
            await daemon.walked(10)
            await node.mine(request(1, DOMAIN))
            await node.mine(request(2, f"nowhere.{DOMAIN}"))
            await daemon.until(lambda: daemon.states("records") == [(11, "accepted"), (12, "accepted")])
            said = [
                decode(["uint256", "string", "string", "string", "bool"], each.data) for each in aggregator.accepted
            ]
            assert sorted((each[0], each[1], each[4]) for each in said) == [
                (1, DOMAIN, True),
                (2, f"nowhere.{DOMAIN}", False),
            ]
            for call in aggregator.accepted:
                assert await vote(daemon.url, call, data=call.data) is True
                assert await vote(daemon.url, call, data=call.data[:-1] + bytes((call.data[-1] ^ 1,))) is False


async def test_resolvers_that_do_not_answer_leave_a_failed_task_and_nothing_signed(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    contract = f'[contracts.domain_registry]\nchain = "l2"\naddress = "{REGISTRY}"\nabi = "{ABI}"\n'
    async with Names({}) as first, Names({}) as second:
        rules = rule([first.resolver, second.resolver])
        config = write_config(tmp_path, [node.ws_url], rules, aggregator=aggregator.url, more=contract)
        async with following(config) as daemon:
            await daemon.walked(10)
            await node.mine(request(1, DOMAIN))
            await daemon.until(lambda: daemon.states("records") == [(11, "failed")])
        assert "0 of 2 resolvers say the same, 2 nothing" in daemon.rows[0]["error"]
        assert not aggregator.accepted


@pytest.mark.parametrize("mode", ["dkim", "record"])
async def test_a_request_by_http_is_answered_and_approved(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path, mode: str
) -> None:
    key = {"TXT": [f"v=DKIM1; p={KEY}"]}
    async with Names({DOMAIN: {"s1._domainkey": key}}) as first, Names({DOMAIN: {"s1._domainkey": key}}) as second:
        rules = (
            '[[rules]]\nname = "asked"\ntask = "tasks.dns_registry"\ntask_definition_id = 8\nmax_attempts = 1\n'
            'trigger = { type = "http" }\n'
            f'settings = {{ mode = "{mode}", trigger = "http", block_age_s = 1000000000, '
            f"resolvers = {json.dumps([first.resolver, second.resolver])} }}\n"
        )
        config = write_config(tmp_path, [node.ws_url], rules, aggregator=aggregator.url)
        record = {"requestId": 1, "requester": REQUESTER, "domain": DOMAIN, "recordType": "A", "value": "192.0.2.1"}
        body = {"taskDefinitionId": 8, **({"domain": DOMAIN, "selector": "s1"} if mode == "dkim" else record)}
        async with following(config, attests=True) as daemon:
            await daemon.walked(10)
            async with aiohttp.ClientSession() as session:
                async with session.post(f"{daemon.url}/task/execute?wait=true", json=body) as response:
                    assert response.status == 200, await response.text()
                async with session.post(f"{daemon.url}/task/execute", json={**body, "domain": 1}) as response:
                    assert response.status == 400
            (call,) = aggregator.accepted
            assert await vote(daemon.url, call, data=call.data) is True
            assert await vote(daemon.url, call, data=call.data[:-1] + bytes((call.data[-1] ^ 1,))) is False
