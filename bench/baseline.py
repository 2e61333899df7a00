"""
The baseline: the script that a user would write instead of running the daemon.

web3.py's subscription for the logs, its contract event to decode them, eth-account to sign, aiohttp with 32 requests in
flight to send. It remembers nothing, so it misses what happens while it is down.
"""

import argparse
import asyncio
import os
from pathlib import Path
from typing import Any, cast

import aiohttp
import orjson
from eth_abi.abi import encode
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import Hash32
from eth_utils.address import to_checksum_address
from web3 import AsyncWeb3, WebSocketProvider
from web3.types import EventData, LogReceipt
from web3.utils.subscriptions import LogsSubscription, LogsSubscriptionContext

IN_FLIGHT = 32
QUEUED = 100  # decoded and not yet in flight; more would decode a whole block before its first task is sent
RANGE_BLOCKS = 50  # web3.py closes a websocket whose answer is above 1 MiB, which is about 1,000 logs
TASK_DEFINITION_ID = 0


def proof_and_data(event: EventData) -> tuple[str, bytes]:
    """Answer an intent as tasks/intent.py does."""
    args = event["args"]
    proof = f"{event['blockNumber']}+{event['transactionHash'].to_0x_hex()}+{event['logIndex']}"
    return proof, encode(["uint256", "address", "bytes"], [args["chainId"], args["_to"], args["_data"]])


def send_task(account: LocalAccount, event: EventData) -> dict[str, Any]:
    """Build and sign the request for one intent."""
    proof, data = proof_and_data(event)
    fields = [proof, data, account.address, TASK_DEFINITION_ID]
    digest = AsyncWeb3.keccak(encode(["string", "bytes", "address", "uint16"], fields))
    signature = account.unsafe_sign_hash(Hash32(digest)).signature
    params = [proof, "0x" + data.hex(), TASK_DEFINITION_ID, account.address, signature.to_0x_hex()]
    return {"jsonrpc": "2.0", "id": 1, "method": "sendTask", "params": params}


async def submit(queue: asyncio.Queue[EventData], session: aiohttp.ClientSession, url: str, key: str) -> None:
    """Send what is queued, one task at a time; so many of these run as there may be requests in flight."""
    account = Account.from_key(key)
    while True:
        event = await queue.get()
        async with session.post(url, json=send_task(account, event)) as response:
            answer = await response.json()
        if "error" in answer:
            raise RuntimeError(f"sendTask for block {event['blockNumber']} was refused: {answer['error']}")


async def follow(w3: AsyncWeb3[Any], contract: Any, queue: asyncio.Queue[EventData], start: int | None) -> None:
    """Queue past intents from ``start`` on, then those that the subscription brings."""
    event = contract.events.IntentSent()

    async def on_log(context: LogsSubscriptionContext) -> None:
        log = cast("LogReceipt", context.result)
        if log["blockNumber"] > head:  # what came while the past was read was read with it
            await queue.put(event.process_log(log))

    await w3.subscription_manager.subscribe(
        LogsSubscription(address=contract.address, topics=[event.topic], handler=on_log)
    )
    head = await w3.eth.block_number
    for first in range(head + 1 if start is None else start, head + 1, RANGE_BLOCKS):
        last = min(first + RANGE_BLOCKS - 1, head)
        for log in await w3.eth.get_logs(
            {"address": contract.address, "topics": [event.topic], "fromBlock": first, "toBlock": last}
        ):
            await queue.put(event.process_log(log))
    await w3.subscription_manager.handle_subscriptions()


async def run(options: argparse.Namespace, key: str) -> None:
    """Follow and submit until a signal ends the process."""
    queue: asyncio.Queue[EventData] = asyncio.Queue(QUEUED)
    async with (
        AsyncWeb3(WebSocketProvider(options.ws)) as w3,
        aiohttp.ClientSession() as session,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(IN_FLIGHT):
            group.create_task(submit(queue, session, options.aggregator, key))
        contract = w3.eth.contract(to_checksum_address(options.address), abi=orjson.loads(options.abi.read_bytes()))
        await follow(w3, contract, queue, options.start)


def main() -> None:
    """Read the arguments; the key is in PERFORMER_KEY."""
    parser = argparse.ArgumentParser(description="IntentSent events to sendTask, with web3.py.")
    parser.add_argument("--ws", required=True, help="URL of the chain's websocket")
    parser.add_argument("--aggregator", required=True, help="URL of the aggregator")
    parser.add_argument("--address", required=True, help="the IntentSender's address")
    parser.add_argument("--abi", required=True, type=Path, help="its ABI, a JSON file")
    parser.add_argument("--start", type=int, help="first block; default: the next one")
    asyncio.run(run(parser.parse_args(), os.environ["PERFORMER_KEY"]))


if __name__ == "__main__":
    main()
