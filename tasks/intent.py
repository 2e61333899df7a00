"""
Carries out a user's intent: relays what an ``IntentSent`` event asks for to the chain it names.

The proof names the very log it answers, ``<block>+<transaction>+<log index>``, so that it is the same in every attempt,
differs between two equal intents of one block, and lets an attester find the event again. Whoever reads only the block
number in front of the first ``+`` finds it there.
"""

from eth_abi.abi import encode

from listener import TaskContext, TaskResult


async def execute(ctx: TaskContext[None]) -> TaskResult | None:
    """Answer one ``IntentSent``: data is ``abi.encode(uint256 chainId, address to, bytes data)``."""
    event = ctx.trigger.event
    if event is None:
        raise ValueError("tasks.intent answers events; give its rule a trigger of type event")
    args = event.args
    return TaskResult(
        proof_of_task=f"{ctx.trigger.block_number}+0x{event.transaction_hash.hex()}+{event.log_index}",
        data=encode(["uint256", "address", "bytes"], [args["chainId"], args["_to"], bytes(args["_data"])]),
    )
