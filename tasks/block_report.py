"""
The smallest useful task: reports that a block, or an epoch's boundary, was seen.

The proof holds what tells one trigger from another: the block's number, the rule, and the block's hash.
"""

import re

from eth_abi.abi import encode

from listener import Claim, ClaimContext, TaskContext, TaskResult, Verdict

_PROOF = re.compile(r"([0-9]{1,18})\+.+\+0x[0-9a-f]{64}")


async def execute(ctx: TaskContext[None]) -> TaskResult:
    """Report the trigger's block: data is ``abi.encode(uint256 number, bytes32 hash)``."""
    trigger = ctx.trigger
    return TaskResult(
        proof_of_task=f"{trigger.block_number}+{trigger.rule}+0x{trigger.block_hash.hex()}",
        data=encode(["uint256", "bytes32"], [trigger.block_number, bytes(trigger.block_hash)]),
    )


async def validate(ctx: ClaimContext[None], claim: Claim) -> Verdict:
    """Execute it again for the block that the proof names, as the chain has it now, and compare."""
    named = _PROOF.fullmatch(claim.proof_of_task)
    if named is None:
        return Verdict.reject("the proof is not BLOCK+RULE+0xHASH")
    again = await ctx.retrace(int(named[1]))
    if again is None:
        return Verdict.reject(f"the rule has no task at block {named[1]}")
    if await execute(again) != TaskResult(claim.proof_of_task, claim.data):
        return Verdict.reject(f"block {named[1]} has another hash, or is another rule's, or the data is not its report")
    return Verdict.approve()
