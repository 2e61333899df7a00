"""
A local chain: anvil as a child process, and the calls that make it mine, reorganise and run contracts.

It speaks plain JSON-RPC, so that what counts from outside shares no code with the daemon that is counted.
"""

import asyncio
import contextlib
import shutil
import socket
import time
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from eth_utils.address import to_checksum_address

from listener.devnet import child
from listener.errors import ConfigError, ListenerError

HOST = "127.0.0.1"
PROJECT = Path(__file__).parents[2]  # where npm put anvil, when the project was cloned
START_TIMEOUT_S = 20
WITHOUT_BODIES = False  # transactions by their hashes


class AnvilError(ListenerError):
    """The local chain did not start, or refused a call."""


@dataclass(kw_only=True)
class Anvil:
    """
    One anvil; use it as an async context manager.

    ``port`` 0 takes a free one. ``block_time_s`` mines on an interval, ``mining=False`` only when asked; the default is
    one block for each transaction. Only ``history_blocks`` states are kept (which bounds the depth of a reorg): whoever
    keeps them all leaves 150 kB a block on the disk.
    """

    port: int = 0
    chain_id: int = 31337
    block_time_s: float | None = None
    mining: bool = True
    slots_in_epoch: int = 32
    history_blocks: int = 256
    accounts: Sequence[str] = ()  # unlocked and rich; known once started
    _process: Process | None = None
    _session: aiohttp.ClientSession | None = None

    @property
    def http_url(self) -> str:
        """Where it answers over HTTP."""
        return f"http://{HOST}:{self.port}"

    @property
    def ws_url(self) -> str:
        """Where it answers over a websocket."""
        return f"ws://{HOST}:{self.port}"

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        try:
            await self._start()
            self.accounts = [to_checksum_address(account) for account in await self.call("eth_accounts")]
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop anvil; what it held is gone."""
        if self._process is not None:
            await child.stop(self._process)
        if self._session is not None:
            await self._session.close()

    async def call(self, method: str, *params: Any) -> Any:
        """
        Make one JSON-RPC call.

        Raises:
            AnvilError: the answer is an error, or there is none.
        """
        if self._session is None:
            raise AnvilError(f"anvil: {method} before it was started")
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}  # one request a POST
        try:
            async with self._session.post(
                self.http_url, data=orjson.dumps(request), headers={"content-type": "application/json"}
            ) as response:
                reply = orjson.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
            raise AnvilError(f"anvil: {method} on port {self.port} got no answer: {error}") from error
        if "error" in reply:
            raise AnvilError(f"anvil: {method} refused: {reply['error']}")
        return reply["result"]

    async def head(self) -> int:
        """Return the newest block's number."""
        return int(await self.call("eth_blockNumber"), 16)

    async def block(self, number: int | str) -> dict[str, Any]:
        """Return a block's header and transaction hashes by its number or tag, as the chain writes it."""
        block: dict[str, Any] | None = await self.call("eth_getBlockByNumber", _quantity(number), WITHOUT_BODIES)
        if block is None:
            raise AnvilError(f"anvil: there is no block {number}")
        return block

    async def mine(self, blocks: int = 1) -> int:
        """Mine so many blocks and return the new head."""
        await self.call("anvil_mine", hex(blocks))
        return await self.head()

    async def reorg(self, depth: int, transactions: Sequence[tuple[dict[str, str] | str, int]] = ()) -> None:
        """
        Replace the newest ``depth`` blocks.

        Wait for every receipt first: a block that is being mined meanwhile confuses anvil.

        Args:
            depth: how many blocks are replaced, by as many.
            transactions: what the new blocks hold, each a request or raw hex with its block's offset from the first
                replaced one. What the old blocks held is dropped. Where both were empty, a block keeps its hash.
        """
        await self.call("anvil_reorg", depth, [list(pair) for pair in transactions])

    async def send(self, to: str | None, data: bytes, *, sender: str | None = None) -> str:
        """Send a transaction from an unlocked account (the first one) and return its hash; it need not be mined yet."""
        transaction = {"from": sender or self.accounts[0], "data": f"0x{data.hex()}"}
        if to is not None:
            transaction["to"] = to
        transaction_hash: str = await self.call("eth_sendTransaction", transaction)
        return transaction_hash

    async def receipt(self, transaction_hash: str) -> dict[str, Any]:
        """
        Wait until a transaction is mined and return its receipt.

        Raises:
            AnvilError: it was not within ten seconds, or it was reverted.
        """
        for _ in range(1000):  # mining is asynchronous: right after sending there may be no receipt
            receipt: dict[str, Any] | None = await self.call("eth_getTransactionReceipt", transaction_hash)
            if receipt is not None:
                if receipt["status"] != "0x1":
                    raise AnvilError(f"anvil: transaction {transaction_hash} was reverted")
                return receipt
            await asyncio.sleep(0.01)
        raise AnvilError(f"anvil: transaction {transaction_hash} was not mined; is mining on?")

    async def deploy(self, artifact: Mapping[str, Any], arguments: bytes = b"") -> str:
        """Deploy a contract from its artifact and its encoded constructor arguments; return its checksummed address."""
        code = bytes.fromhex(artifact["bytecode"].removeprefix("0x"))
        transaction_hash = await self.send(None, code + arguments)
        if not self.mining:
            await self.mine()
        return to_checksum_address((await self.receipt(transaction_hash))["contractAddress"])

    async def logs(
        self, address: str, *, from_block: int | str = 0, to_block: int | str = "latest"
    ) -> list[dict[str, Any]]:
        """Return a contract's logs on the canonical chain, as the chain writes them."""
        query = {"address": address, "fromBlock": _quantity(from_block), "toBlock": _quantity(to_block)}
        logs: list[dict[str, Any]] = await self.call("eth_getLogs", query)
        return logs

    async def _start(self) -> None:
        wanted, self.port = self.port, free_port(self.port)
        if wanted not in {0, self.port}:  # anvil would end, and whoever listens there answer in its place
            raise AnvilError(f"anvil: port {wanted} is taken; stop what listens there, or take port 0 for any")
        self._process = await child.start(_program(), *self._arguments())
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._process.returncode is None and time.monotonic() < deadline:
            with contextlib.suppress(AnvilError):
                await self.call("eth_chainId")
                return
            await asyncio.sleep(0.02)
        raise AnvilError(f"anvil: {_program()} does not answer on port {self.port}; start it by hand to see why")

    def _arguments(self) -> list[str]:
        arguments = [
            *("--quiet", "--host", HOST, "--port", str(self.port), "--chain-id", str(self.chain_id)),
            *("--slots-in-an-epoch", str(self.slots_in_epoch), "--prune-history", str(self.history_blocks)),
            "--no-request-size-limit",
        ]
        if self.block_time_s is not None:
            arguments += ["--block-time", str(self.block_time_s)]
        elif not self.mining:
            arguments.append("--no-mining")
        return arguments


def _program() -> str:
    """
    Find anvil.

    Raises:
        ConfigError: it is neither beside the project nor on the PATH.
    """
    local = PROJECT / "node_modules" / ".bin" / "anvil"
    found = str(local) if local.exists() else shutil.which("anvil")
    if found is None:
        raise ConfigError("anvil is not installed: run `make demo` in the project's folder, or put anvil on the PATH")
    return found


def free_port(preferred: int = 0) -> int:
    """Return the preferred port where nobody listens on it, else any free one."""
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # connections that are just closing do not count
            probe.bind((HOST, port))
            free: int = probe.getsockname()[1]
            return free
    raise AnvilError("anvil: no port is free on this machine")


def _quantity(number: int | str) -> str:
    return number if isinstance(number, str) else hex(number)
