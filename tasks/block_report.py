"""
The smallest useful task: reports that a block, or an epoch's boundary, was seen.

The proof holds what tells one trigger from another: the block's number, the rule, and the block's hash.
"""

from eth_abi.abi import encode

from listener import TaskContext, TaskResult


async def execute(ctx: TaskContext[None]) -> TaskResult:
    """Report the trigger's block: data is ``abi.encode(uint256 number, bytes32 hash)``."""
    trigger = ctx.trigger
    return TaskResult(
        proof_of_task=f"{trigger.block_number}+{trigger.rule}+0x{trigger.block_hash.hex()}",
        data=encode(["uint256", "bytes32"], [trigger.block_number, bytes(trigger.block_hash)]),
    )
