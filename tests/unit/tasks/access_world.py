"""A chain of a few blocks on which contracts answer as the test says, to read by the access task."""

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak

from listener import Claim, ClaimContext, TaskContext
from listener.testing import claim_context, context
from tasks.access_control import Body, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

PROTOCOL = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
SCORES = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
USER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
BLOCK = 12
ENTRY = ("31337", SCORES, "balanceOf(address)", ("<UA>",), ("GTE", "100"))

ContextT = TypeVar("ContextT", bound=TaskContext[Any])


class Refused(Exception):
    """What a node says in place of an answer."""

    def __init__(self, message: str, code: int = -32000) -> None:
        super().__init__(message)
        self.answer = {"error": {"code": code, "message": message}}


def block_hash(number: int) -> bytes:
    return bytes(context(block_number=number).trigger.block_hash)


class World:
    """Blocks up to ``head``; contracts by address and signature, each a function of its arguments."""

    def __init__(self) -> None:
        self.head = BLOCK
        self.hashes = {number: block_hash(number) for number in range(200)}
        self.entries: list[Any] = [ENTRY]
        self.balance: Callable[[str], int] = lambda _user: 100
        self.logs: list[dict[str, Any]] = []
        self.widest = 10_000
        self.views: dict[tuple[str, str], Callable[..., bytes]] = {
            (PROTOCOL, "getWhitelistMethods()"): lambda: encode(
                ["(string,address,string,string[],string[])[]"], [self.entries]
            ),
            (SCORES, "balanceOf(address)"): lambda user: encode(["uint256"], [self.balance(user)]),
        }
        self.read_at: set[Any] = set()
        self.logs_asked: list[tuple[int, int]] = []

    def at(self, block: int | bytes | str) -> Any:
        return _W3(self, block)

    def inside(self, ctx: ContextT) -> ContextT:
        return dataclasses.replace(ctx, reader=self)

    def execution(self, settings: Settings, body: Body | None = None, **more: Any) -> TaskContext[Settings]:
        return self.inside(context(settings, block_number=BLOCK, body=body, **more))

    def claim(self, claim: Claim, settings: Settings, **more: Any) -> ClaimContext[Settings]:
        return self.inside(claim_context(claim, settings, **{"found": None, **more}))


@dataclasses.dataclass
class _W3:
    world: World
    block: Any

    @property
    def provider(self) -> "_W3":
        return self

    async def make_request(self, method: str, params: list[Any]) -> Any:
        try:
            return {"result": getattr(self, method)(*params)}
        except Refused as refused:
            return refused.answer

    def eth_blockNumber(self) -> str:  # noqa: N802 - JSON-RPC
        return hex(self.world.head)

    def eth_getBlockByNumber(self, number: str, _full: bool) -> Any:  # noqa: FBT001, N802 - JSON-RPC
        return self._header(int(number, 16)) if int(number, 16) <= self.world.head else None

    def eth_getBlockByHash(self, wanted: str, _full: bool) -> Any:  # noqa: FBT001, N802 - JSON-RPC
        known = [number for number, each in self.world.hashes.items() if f"0x{each.hex()}" == wanted]
        return self._header(known[0]) if known and known[0] <= self.world.head else None

    def eth_call(self, call: dict[str, str]) -> str:
        self.world.read_at.add(self.block)
        data = bytes.fromhex(call["data"][2:])
        for (contract, signature), view in self.world.views.items():
            if (contract, keccak(text=signature)[:4]) == (call["to"], data[:4]):
                types = [each for each in signature[signature.index("(") + 1 : -1].split(",") if each]
                return f"0x{view(*decode(types, data[4:])).hex()}"
        if call["to"] in {contract for contract, _ in self.world.views}:
            raise Refused("execution reverted", code=3)
        return "0x"

    def eth_getLogs(self, query: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: N802 - JSON-RPC
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        self.world.logs_asked.append((first, last))
        if last - first >= self.world.widest:
            raise Refused("block range is too wide")
        events, role = query["topics"]
        return [
            log
            for log in self.world.logs
            if first <= int(log["blockNumber"], 16) <= last and log["topics"][0] in events and log["topics"][1] == role
        ]

    def _header(self, number: int) -> dict[str, str]:
        hash_ = self.world.hashes[number].hex()
        return {"number": hex(number), "hash": f"0x{hash_}", "timestamp": hex(1_700_000_000 + number)}
