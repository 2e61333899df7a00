"""From the bytes of a request to a claim, or to one sentence that says what is wrong with them."""

import functools
import re
from typing import Any

import orjson
from eth_utils.address import to_checksum_address

from listener import json_object
from listener.model import Claim

FIELDS = ("proofOfTask", "data", "taskDefinitionId", "performer")
ALIASES = {"taskDefinitionID": "taskDefinitionId"}  # as one page of the stack's documentation has it
_HEX = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{40}")


class BadClaim(Exception):
    """What was sent is no claim; its text is for the one who sent it."""


def read(body: bytes) -> Claim:
    """
    Read a claim. Other fields are let pass: a node may come to send more.

    Raises:
        BadClaim: it is malformed.
    """
    try:
        fields = json_object.read(body, ALIASES)
    except json_object.BadJson as error:
        raise BadClaim(str(error)) from None
    missing = [name for name in FIELDS if name not in fields]
    if missing:
        raise BadClaim(f"{missing[0]} is missing; send {', '.join(FIELDS)}")
    proof, data, definition, performer = (fields[name] for name in FIELDS)
    if not isinstance(proof, str):
        raise BadClaim(f"proofOfTask: a text is needed, not {_shown(proof)}")
    if not isinstance(data, str) or _HEX.fullmatch(data) is None:
        raise BadClaim(f"data: 0x and an even number of hex digits are needed, not {_shown(data)}")
    if isinstance(definition, float) and definition.is_integer():
        definition = int(definition)  # 7.0 is an integer to JSON Schema
    if type(definition) is not int or not 0 <= definition <= 0xFFFF:  # a JSON boolean would pass isinstance
        raise BadClaim(f"taskDefinitionId: an integer from 0 to 65535 is needed, not {_shown(definition)}")
    if not isinstance(performer, str) or _ADDRESS.fullmatch(performer) is None:
        raise BadClaim(f"performer: an address is needed, 0x and 40 hex digits, not {_shown(performer)}")
    return Claim(proof, bytes.fromhex(data[2:]), definition, _checksummed(performer.lower()))


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = orjson.dumps(value).decode() if not isinstance(value, int) or isinstance(value, bool) else str(value)
    return text if len(text) <= 50 else f"{text[:50]}…"


@functools.lru_cache(maxsize=1024)  # performers repeat, and a checksum is a hash
def _checksummed(address: str) -> str:
    return to_checksum_address(address)
