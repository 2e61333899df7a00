"""The attestation contract's operators as a task reads them, over its own ``ctx.w3``."""

from typing import TYPE_CHECKING, Any

from listener.chains.wire import RpcError
from listener.election.operators import Operators
from listener.errors import ElectionFailed

if TYPE_CHECKING:
    from web3 import AsyncWeb3


class _Calls:
    """Makes a task's web3 look like the chain that ``Operators`` asks."""

    name = "the trigger's chain"

    def __init__(self, w3: "AsyncWeb3[Any]") -> None:
        self._w3 = w3

    async def call(self, method: str, params: list[Any]) -> Any:
        answer = await self._w3.provider.make_request(method, params)
        if "error" in answer:
            error: Any = answer["error"]
            raise RpcError(self.name, method, error.get("code", 0), str(error.get("message", "")))
        return answer["result"]


async def active_operators(w3: "AsyncWeb3[Any]", attestation_center: str, block_hash: bytes) -> tuple[str, ...]:
    """
    Return the active operators at a block by ascending id, whichever generation the contract is.

    Raises:
        ElectionFailed: they could not be read.
    """
    operators = Operators(_Calls(w3), attestation_center)
    try:
        return await operators.active({"blockHash": f"0x{block_hash.hex()}"})
    except RpcError as error:
        raise ElectionFailed(f"the operators cannot be read: {error}") from error
