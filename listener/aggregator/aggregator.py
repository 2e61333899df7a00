"""
``sendTask``, and what its answers mean.

A success says only that the node took the task and gossips it. HTTP 200 with a JSON-RPC error is an error. No source
tells the node's error codes, so only errors that the same bytes can never pass are permanent.
"""

import asyncio
import itertools
import re
import socket
import time
from typing import Any

import orjson

from listener.aggregator.connections import Connections
from listener.errors import AggregatorDeclined, AggregatorRefused, AggregatorUnavailable
from listener.model import Payload

INVALID_PARAMS = -32602
SILENT_S = 60.0  # a send without an answer tells something for so long; a connection is opened then
REACH_S = 2.0  # for such a connection
_ALREADY = re.compile(
    r"messagealreadysigned|0x8a206046|already[\W_]*(?:been[\W_]*)?(?:known|signed|submitted|exists)", re.IGNORECASE
)
_ALREADY_WORDS = re.compile(r"\b(?:known|signed|submitted|exists)\b", re.IGNORECASE)  # not "unknown"
# The contract's errors by name and selector: InvalidPerformerSignature, TaskDefinitionNotFound, InvalidTaskDefinition.
_PERMANENT = re.compile(
    r"invalidperformersignature|0x57c3c396|taskdefinitionnotfound|0x42643c32|invalidtaskdefinition|0x5a31d91b",
    re.IGNORECASE,
)


class Aggregator:
    """
    Sends payloads to one aggregator.

    Args:
        url: where it listens; ``shown`` is the same without secrets.
        timeout_s: for one send.
        target_chain_id: sent as the 7th parameter, after the signature type; None sends the first five alone.
    """

    def __init__(self, url: str, shown: str, *, timeout_s: float, target_chain_id: int | None = None) -> None:
        self.name = shown
        self._connections = Connections(url)
        self._timeout_s = timeout_s
        self._more: tuple[Any, ...] = () if target_chain_id is None else ("ecdsa", target_chain_id)
        self._ids = itertools.count(1)
        self._silent_at = float("-inf")  # when the last send got no answer, if that was the last send

    async def send(self, payload: Payload) -> bool:
        """
        Send one payload.

        Returns:
            Whether the aggregator said that it knew this payload already.

        Raises:
            AggregatorRefused: these bytes will never be taken.
            AggregatorDeclined: they may be taken later.
            AggregatorUnavailable: nothing is taken at present.
        """
        body = orjson.dumps(
            {"jsonrpc": "2.0", "id": next(self._ids), "method": "sendTask", "params": self._params(payload)}
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._connections.post(body)
        except (TimeoutError, OSError) as error:
            # The error's own text may hold the URL, and the URL a credential: only its kind is told.
            self._silent_at = time.monotonic()
            raise AggregatorUnavailable(f"{self.name}: no answer: {_kind(error)}") from error
        self._silent_at = float("-inf")
        return judge(answer.status, answer.body)

    async def reach(self) -> None:
        """
        Find out whether it can be reached, without a send: by what became of the last one, else by a connection.

        Raises:
            AggregatorUnavailable: it cannot.
        """
        silent_s = time.monotonic() - self._silent_at
        if silent_s < SILENT_S:
            raise AggregatorUnavailable(f"{self.name}: no answer to a send {silent_s:.0f} s ago")
        try:
            async with asyncio.timeout(min(self._timeout_s, REACH_S)):
                await self._connections.reach()
        except (TimeoutError, OSError) as error:
            raise AggregatorUnavailable(f"{self.name}: no connection: {_kind(error)}") from error

    async def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def _params(self, payload: Payload) -> list[Any]:
        return [
            payload.proof_of_task,
            "0x" + payload.data.hex(),
            payload.task_definition_id,
            payload.performer,
            "0x" + payload.signature.hex(),
            *self._more,
        ]


def _kind(error: OSError | TimeoutError) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused; see whether it runs, and aggregator.url"
    if isinstance(error, socket.gaierror):
        return "its host name is not known; correct aggregator.url"
    return error.strerror or type(error).__name__


def judge(status: int, raw: bytes) -> bool:
    """
    Say what an answer means: taken (False), known already (True), or one of three errors.

    Raises:
        AggregatorRefused: these bytes will never be taken.
        AggregatorDeclined: they may be taken later.
        AggregatorUnavailable: nothing is taken at present.
    """
    if status == 413:
        raise AggregatorRefused("HTTP 413: the task is too large for the aggregator")
    try:
        answer = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise AggregatorUnavailable(f"HTTP {status} without JSON") from None
    if not isinstance(answer, dict):
        raise AggregatorUnavailable(f"HTTP {status} with an answer that is not JSON-RPC")
    fault = answer.get("error")
    if fault is not None:
        return _judge_error(fault, raw.decode(errors="replace"))
    if status != 200 or "result" not in answer:
        raise AggregatorUnavailable(f"HTTP {status} without a result")
    return False


def _judge_error(fault: Any, text: str) -> bool:
    """Judge an error by its code and by all of the answer: where a node puts the contract's reason is unknown."""
    code = fault.get("code") if isinstance(fault, dict) else None
    if _ALREADY.search(text) or ("already" in text.lower() and _ALREADY_WORDS.search(text)):
        return True
    shown = f"error {code}: {_message(fault)}"
    if code == INVALID_PARAMS or _PERMANENT.search(text):
        raise AggregatorRefused(shown)
    raise AggregatorDeclined(shown)


def _message(fault: Any) -> str:
    """Return what an operator should read of an error, cut to a bearable length."""
    if not isinstance(fault, dict):
        return str(fault)[:500]
    data = fault.get("data")
    return f"{fault.get('message')}{'' if data is None else f' ({data})'}"[:500]
