"""A chain is read at whichever endpoint answers, and what does not fit together is not believed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import orjson
import pytest
from raw_server import RawServer, Reply, Request, answer
from world import block, hashed

from listener.chains import Chain, LogQuery, health, pace
from listener.chains.chain import PUSHED
from listener.chains.wire import RpcError, quantity
from listener.errors import ChainUnavailable
from listener.model import Block

ID = 31337
Method = Callable[[list[Any]], Any]


class Node:
    """A node over HTTP that answers what a test tells it to; a method may raise to answer with an error."""

    def __init__(self) -> None:
        self.server = RawServer(hook=self._answer)
        self.asked: list[tuple[str, Any]] = []
        self.methods: dict[str, Method] = {"eth_chainId": lambda _params: quantity(ID)}
        self.broken: Reply = b""

    async def _answer(self, request: Request) -> Reply:
        if self.broken != b"":
            return self.broken
        method, params = request.json["method"], request.json["params"]
        if method != "eth_chainId":
            self.asked.append((method, params))  # type: ignore[arg-type]
        try:
            reply = {"jsonrpc": "2.0", "id": request.json["id"], "result": self.methods[method](params)}  # type: ignore[index,arg-type]
        except LookupError as error:
            reply = {"jsonrpc": "2.0", "id": request.json["id"], "error": {"code": -32000, "message": str(error)}}
        return answer(orjson.dumps(reply))


@pytest.fixture
async def nodes() -> AsyncIterator[list[Node]]:
    made = [Node(), Node()]
    for node in made:
        await node.server.start()
    yield made
    for node in made:
        await node.server.close()


@pytest.fixture
async def chain(nodes: list[Node]) -> AsyncIterator[Chain]:
    async with aiohttp.ClientSession() as session:
        made = Chain("l2", ID)
        for index, node in enumerate(nodes):
            made.add(f"http://user:secret@127.0.0.1:{node.server.port}/key", f"node {index}", session)
        yield made


def header(at: Block) -> dict[str, str]:
    return {
        "number": quantity(at.number),
        "hash": "0x" + at.hash.hex(),
        "parentHash": "0x" + at.parent_hash.hex(),
        "timestamp": quantity(at.timestamp),
        "logsBloom": "0x" + "00" * 256,
        "gasUsed": quantity(at.gas_used),
    }


def raw_log(at: Block, index: int = 0) -> dict[str, Any]:
    return {
        "address": "0xaa",
        "topics": [],
        "data": "0x",
        "blockNumber": quantity(at.number),
        "blockHash": "0x" + at.hash.hex(),
        "transactionHash": "0x" + hashed("tx").hex(),
        "logIndex": quantity(index),
    }


def by_number(params: list[Any]) -> Any:
    return header(block(int(params[0], 16)))


def refuse(_params: list[Any]) -> Any:
    raise LookupError("not here")


def push(chain: Chain, pushed: Any) -> None:
    chain.pool.members[0].on_head(pushed)


QUERY = LogQuery(("0xaa",), ())


# Endpoints


async def test_the_preferred_endpoint_is_asked_as_long_as_it_answers(chain: Chain, nodes: list[Node]) -> None:
    nodes[0].methods["eth_gasPrice"] = nodes[1].methods["eth_gasPrice"] = lambda _params: "0x1"
    for _ in range(3):
        assert await chain.call("eth_gasPrice", []) == "0x1"
    assert (len(nodes[0].asked), len(nodes[1].asked)) == (3, 0)


@pytest.mark.parametrize(
    "broken",
    [None, answer("<html>", 200), answer("", 502), answer("slow down", 429), answer("[]"), answer('{"id":1}')],
    ids=["cut", "html", "502", "429", "list", "no result"],
)
async def test_another_endpoint_answers_for_one_that_does_not_and_the_failed_one_rests(
    chain: Chain, nodes: list[Node], broken: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "FIRST_REST_S", 60.0)  # however long the machine takes for the next call
    monkeypatch.setattr(pace, "FIRST_PAUSE_S", 60.0)
    nodes[1].methods["eth_gasPrice"] = lambda _params: "0x2"
    nodes[0].broken = broken
    assert await chain.call("eth_gasPrice", []) == "0x2"
    nodes[0].broken = b""
    nodes[0].methods["eth_gasPrice"] = lambda _params: "0x1"
    assert await chain.call("eth_gasPrice", []) == "0x2", "it rests for a moment"


async def test_an_error_of_the_first_is_tried_at_the_second_and_it_does_not_rest(
    chain: Chain, nodes: list[Node]
) -> None:
    nodes[0].methods["eth_call"] = refuse
    nodes[1].methods["eth_call"] = lambda _params: "0x2"
    assert await chain.call("eth_call", []) == "0x2"
    nodes[0].methods["eth_call"] = lambda _params: "0x1"
    assert await chain.call("eth_call", []) == "0x1"


async def test_the_error_of_a_node_is_told_rather_than_that_another_is_gone(chain: Chain, nodes: list[Node]) -> None:
    nodes[0].methods["eth_call"] = refuse
    nodes[1].broken = None
    with pytest.raises(RpcError, match="node 0: eth_call: error -32000: not here"):
        await chain.call("eth_call", [])


async def test_no_endpoint_at_all_is_said_with_the_name_of_the_chain() -> None:
    with pytest.raises(ChainUnavailable, match="chain l2: no endpoint is connected"):
        await Chain("l2", ID).call("eth_call", [])


async def test_no_error_tells_the_credentials_of_an_endpoint(chain: Chain, nodes: list[Node]) -> None:
    for node in nodes:
        node.broken = None
    with pytest.raises(ChainUnavailable) as raised:
        await chain.call("eth_call", [])
    assert "node 0" in str(raised.value)
    assert "secret" not in str(raised.value) + repr(raised.value)
    assert "/key" not in str(raised.value)


async def test_an_endpoint_of_another_chain_is_not_used(chain: Chain, nodes: list[Node]) -> None:
    for node in nodes:
        node.methods["eth_gasPrice"] = lambda _params: "0x1"
    nodes[0].methods["eth_chainId"] = lambda _params: "0x1"
    assert await chain.call("eth_gasPrice", []) == "0x1"
    assert nodes[0].asked == []


# Headers


async def test_headers_come_in_the_order_that_was_asked_for(chain: Chain, nodes: list[Node]) -> None:
    nodes[0].methods["eth_getBlockByNumber"] = by_number
    assert [each.number for each in await chain.headers([12, 11, 300])] == [12, 11, 300]
    assert await chain.headers([11]) == [block(11)]
    assert await chain.headers([]) == []


async def test_a_header_of_another_number_is_not_believed(chain: Chain, nodes: list[Node]) -> None:
    for node in nodes:
        node.methods["eth_getBlockByNumber"] = lambda _params: header(block(11))
    with pytest.raises(ChainUnavailable, match="another number than asked"):
        await chain.headers([11, 12])


async def test_a_block_that_is_not_there_yet_is_unavailable_as_one_of_several_and_none_alone(
    chain: Chain, nodes: list[Node]
) -> None:
    nodes[0].methods["eth_getBlockByNumber"] = lambda _params: None
    assert await chain.header("latest") is None
    with pytest.raises(ChainUnavailable):
        await chain.headers([11, 12])


async def test_a_tag_is_asked_for_by_its_name(chain: Chain, nodes: list[Node]) -> None:
    nodes[0].methods["eth_getBlockByNumber"] = lambda _params: header(block(11))
    assert await chain.header("finalized") == block(11)
    assert await chain.header(255) == block(11)
    assert [params[0] for _, params in nodes[0].asked] == ["finalized", "0xff"]


async def test_a_head_that_fails_once_is_asked_for_again(chain: Chain, nodes: list[Node]) -> None:
    for node in nodes:
        node.broken = answer("", 503)

    async def recover() -> None:
        await asyncio.sleep(0.01)
        nodes[0].broken = b""
        nodes[0].methods["eth_getBlockByNumber"] = by_number

    async with asyncio.TaskGroup() as group:
        group.create_task(recover())
        found = group.create_task(chain.header(11))
    assert found.result() == block(11)


async def test_of_a_thousand_calls_at_once_no_more_run_than_agreed(chain: Chain, nodes: list[Node]) -> None:
    nodes[0].methods["eth_getBlockByNumber"] = by_number
    assert len(await chain.headers(list(range(1000)))) == 1000
    assert nodes[0].server.most_at_once <= PUSHED


# Logs


async def test_logs_are_read_by_the_hash_of_their_block(chain: Chain, nodes: list[Node]) -> None:
    nodes[0].methods["eth_getLogs"] = lambda params: (
        [raw_log(block(11), 3), raw_log(block(11), 1)] if params[0]["blockHash"] == "0x" + block(11).hash.hex() else []
    )
    first, second = await chain.logs_of([block(11), block(12)], QUERY)
    assert ([log.index for log in first], second) == ([1, 3], [])
    assert "fromBlock" not in nodes[0].asked[0][1][0]


async def test_logs_of_another_block_are_not_believed(chain: Chain, nodes: list[Node]) -> None:
    for node in nodes:
        node.methods["eth_getLogs"] = lambda _params: [raw_log(block(11, "b"))]
    with pytest.raises(ChainUnavailable, match="logs of another block than 11"):
        await chain.logs_of([block(11)], QUERY)


async def test_logs_of_a_range_come_in_chain_order(chain: Chain, nodes: list[Node]) -> None:
    nodes[0].methods["eth_getLogs"] = lambda _params: [raw_log(block(16)), raw_log(block(2), 1), raw_log(block(2), 0)]
    end, logs = await chain.logs_between(2, 16, QUERY)
    assert end == 16
    assert [(log.block_number, log.index) for log in logs] == [(2, 0), (2, 1), (16, 0)]
    (asked,) = nodes[0].asked[0][1]
    assert (asked["fromBlock"], asked["toBlock"]) == ("0x2", "0x10")


@pytest.mark.parametrize("number", [1, 17])
async def test_logs_outside_the_range_are_not_believed(chain: Chain, nodes: list[Node], number: int) -> None:
    for node in nodes:
        node.methods["eth_getLogs"] = lambda _params: [raw_log(block(number))]
    with pytest.raises(ChainUnavailable, match="logs outside blocks 2 to 16"):
        await chain.logs_between(2, 16, QUERY)


async def test_when_one_of_many_calls_fails_all_fail_with_its_reason(chain: Chain, nodes: list[Node]) -> None:
    def some(params: list[Any]) -> Any:
        if params[0] == quantity(13):
            raise LookupError("gone")
        return by_number(params)

    for node in nodes:
        node.methods["eth_getBlockByNumber"] = some
    with pytest.raises(ChainUnavailable, match="gone"):
        await chain.headers(list(range(11, 20)))


# What is pushed


async def test_a_pushed_header_wakes_and_is_found_by_its_parent(chain: Chain) -> None:
    push(chain, header(block(12)))
    assert chain.wake.is_set()
    assert chain.pushed == {block(11).hash: block(12)}


@pytest.mark.parametrize("pushed", [None, {}, "0x", [], {"number": "0x1"}, 7])
async def test_a_push_that_is_no_header_only_wakes(chain: Chain, pushed: Any) -> None:
    push(chain, pushed)
    assert chain.wake.is_set()
    assert chain.pushed == {}


async def test_pushed_headers_are_bounded_and_the_oldest_go_first(chain: Chain) -> None:
    for number in range(1, 1001):
        push(chain, header(block(number)))
    assert len(chain.pushed) == PUSHED
    assert min(each.number for each in chain.pushed.values()) == 1001 - PUSHED


async def test_the_last_push_on_a_parent_counts(chain: Chain) -> None:
    twin = Block(12, hashed("b12"), block(11).hash, 1, 0, 1)
    push(chain, header(block(12)))
    push(chain, header(twin))
    assert chain.pushed[block(11).hash].hash == twin.hash
