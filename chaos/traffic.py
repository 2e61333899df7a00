"""
Blocks, intents and reorgs on a real chain, chosen by a seed.

Transactions are signed here, so that a reorg can put the very same ones into the blocks that replace theirs: anvil
drops what the old blocks held.
"""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Literal

from eth_account import Account
from hexbytes import HexBytes

from chaos.site import Site
from listener.devnet.accounts import ACCOUNTS
from listener.devnet.intent_sender import send_intent, send_many

SENDER = ACCOUNTS[1]
DEEPEST = 6  # blocks
LONGEST_ABSENCE_S = 0.5  # of blocks that return
Reorg = Literal["moved", "dropped", "returned"]


@dataclass
class Traffic:
    """What happens on the chain; ``first`` is the first block that counts, and none before it is replaced."""

    site: Site
    chance: random.Random
    first: int
    mined: int = 0  # blocks, those that a reorg made included
    reorgs: int = 0
    returned: int = 0  # reorgs after which the very same blocks were on the chain again
    _nonce: int = 0
    _signed: dict[str, str] = field(default_factory=dict)  # by hash, as raw hex

    async def block(self) -> None:
        """Mine a block with up to three transactions, of up to three intents each."""
        for _ in range(self.chance.randrange(4)):
            await self.intents(self.chance.choice((1, 1, 1, 2, 3)))
        await self.site.anvil.mine()
        self.mined += 1

    async def intents(self, count: int, *, gas: int = 1_000_000) -> None:
        """Send a transaction that announces so many intents."""
        words = (10, ACCOUNTS[0].address, self.chance.randbytes(16))
        await self._send(send_intent(*words) if count == 1 else send_many(count, *words), gas)

    async def reorganise(self, kind: Reorg | None = None) -> None:
        """
        Replace the newest blocks.

        Their transactions are in the new blocks (``moved``), in none (``dropped``), or the old blocks come back after
        others had replaced them (``returned``).
        """
        kind = kind or self.chance.choice(("moved", "moved", "dropped", "returned"))
        anvil = self.site.anvil
        head = await anvil.head()
        depth = min(self.chance.randint(1, DEEPEST), head - self.first + 1)
        if depth < 1:
            return
        old = [await anvil.block(number) for number in range(head - depth + 1, head + 1)]
        held: list[tuple[dict[str, str] | str, int]] = [
            (self._signed[transaction], offset)
            for offset, block in enumerate(old)
            for transaction in block["transactions"]
        ]
        if kind == "returned":
            await anvil.reorg(depth)
            self.reorgs += 1
            self.mined += depth
            await asyncio.sleep(self.chance.uniform(0, LONGEST_ABSENCE_S))
            # The same transactions on the same fee, and the site's clock: so the hashes are the same as well.
            await anvil.call("anvil_setNextBlockBaseFeePerGas", old[0]["baseFeePerGas"])
            await anvil.reorg(depth, held)
            self.returned += (await anvil.block(head))["hash"] == old[-1]["hash"]
        else:
            late = self.chance.randrange(depth)
            moved = [(raw, max(offset, late)) for raw, offset in held]
            await anvil.reorg(depth, moved if kind == "moved" else ())
        self.reorgs += 1
        self.mined += depth
        count = await anvil.call("eth_getTransactionCount", SENDER.address, "latest")
        self._nonce = int(count, 16)

    async def _send(self, data: bytes, gas: int) -> None:
        signed = Account.from_key(SENDER.private_key).sign_transaction(
            {
                "to": self.site.sender.address,
                "value": 0,
                "gas": gas,
                "maxFeePerGas": 10**11,
                "maxPriorityFeePerGas": 10**9,
                "nonce": self._nonce,
                "chainId": self.site.anvil.chain_id,
                "data": HexBytes(data),
                "type": 2,
            }
        )
        raw = "0x" + signed.raw_transaction.hex().removeprefix("0x")
        transaction: str = await self.site.anvil.call("eth_sendRawTransaction", raw)
        self._signed[transaction] = raw
        self._nonce += 1
