"""
Carries out a user's intent: relays what an ``IntentSent`` event asks for to the chain it names.

The proof names the very log it answers, ``<block>+<transaction>+<log index>``, so that it is the same in every attempt,
differs between two equal intents of one block, and lets an attester find the event again. Whoever reads only the block
number in front of the first ``+`` finds it there.
"""

import re

from eth_abi.abi import encode

from listener import Claim, ClaimContext, TaskContext, TaskResult, Verdict

_PROOF = re.compile(r"([0-9]{1,18})\+0x[0-9a-f]{64}\+([0-9]{1,18})")


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


async def validate(ctx: ClaimContext[None], claim: Claim) -> Verdict:
    """Find the event that the proof names on the chain as it is now, answer it again, and see whose turn it was."""
    named = _PROOF.fullmatch(claim.proof_of_task)
    if named is None:
        return Verdict.reject("the proof is not BLOCK+0xTRANSACTION+LOG_INDEX")
    block_number, log_index = int(named[1]), int(named[2])
    again = await ctx.retrace(block_number, log_index)
    if again is None:
        return Verdict.reject(f"block {block_number} has no such intent at log {log_index}")
    answer = await execute(again)
    if answer is None or answer.proof_of_task != claim.proof_of_task:
        return Verdict.reject(f"log {log_index} of block {block_number} is of another transaction")
    if answer.data != claim.data:
        return Verdict.reject("the data is not what the intent asks for")
    operator = await ctx.elected(again)
    if operator not in {None, claim.performer}:
        return Verdict.reject(f"block {block_number} was the turn of {operator}, not of {claim.performer}")
    return Verdict.approve()
