"""What the tests of the rules share: the sample ABI, and logs made by eth-abi."""

import json
from collections.abc import Sequence
from pathlib import Path

import eth_abi
from eth_utils import keccak

from listener.model import Block, Log
from listener.rules.abi import find_event

SAMPLES = json.loads((Path(__file__).parents[2] / "samples/abi/Samples.json").read_text())["abi"]
INTENT_SENDER = json.loads((Path(__file__).parents[3] / "abi/IntentSender.json").read_text())
ADDRESS = "0x5fbdb2315678afecb367f032d93f642f64180aa3"
SOMEONE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"

MOVED = find_event(SAMPLES, "Moved", source="Samples.json")
NESTED = find_event(SAMPLES, "Nested", source="Samples.json")
INTENT_SENT = find_event(INTENT_SENDER, "IntentSent", source="IntentSender.json")


def block(number: int = 7) -> Block:
    return Block(number, keccak(text=str(number)), bytes(32), 1_700_000_000, 0, 21_000)


def log(topics: Sequence[bytes], data: bytes, *, index: int = 0, address: str = ADDRESS, number: int = 7) -> Log:
    return Log(address, tuple(topics), data, number, block(number).hash, bytes(32), index)


def moved(
    *,
    sender: str = SOMEONE,
    label: str = "a",
    small: int = 1,
    amount: int = 0,
    change: int = 0,
    done: bool = False,
    tag: bytes = b"tag!",
    note: str = "",
    index: int = 0,
) -> Log:
    topics = [
        MOVED.topic0,
        eth_abi.encode(["address"], [sender]),
        keccak(text=label),
        eth_abi.encode(["uint8"], [small]),
    ]
    types = ["uint256", "int128", "bool", "bytes4", "string", "address[]", "bytes"]
    return log(topics, eth_abi.encode(types, [amount, change, done, tag, note, [], b""]), index=index)


def intent(*, chain_id: int = 10, index: int = 0, number: int = 7, address: str = ADDRESS) -> Log:
    types = ["uint256", "uint256", "uint256", "address", "bytes"]
    data = eth_abi.encode(types, [number, 0, chain_id, SOMEONE, b"hello"])
    return log([INTENT_SENT.topic0], data, index=index, number=number, address=address)
