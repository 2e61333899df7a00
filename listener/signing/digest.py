"""
The hash that a performer signs and by which the contract knows a task.

keccak256(abi.encode(string proofOfTask, bytes data, address performer, uint16 taskDefinitionId)): the same four fields
in this order in every generation of Othentic's AttestationCenter, without prefix, chain id or nonce. The encoding is
written out here because the general encoder takes thirty times as long; tests hold the two equal.
"""

from eth_hash.auto import keccak

_HEAD = 4 * 32


def encoded(proof_of_task: str, data: bytes, performer: str, task_definition_id: int) -> bytes:
    """
    Encode the four fields as Solidity's ``abi.encode`` does.

    Args:
        proof_of_task: any text that UTF-8 can write.
        data: any bytes.
        performer: 20-byte address, 0x hex.
        task_definition_id: uint16.

    Raises:
        ValueError: a field is out of its range.
    """
    if not 0 <= task_definition_id <= 0xFFFF:
        raise ValueError(f"task_definition_id {task_definition_id}: outside 0..65535")
    address = bytes.fromhex(performer.removeprefix("0x"))
    if len(address) != 20:
        raise ValueError(f"performer {performer}: not a 20-byte address")
    proof = _tail(proof_of_task.encode())
    return b"".join(
        (
            _HEAD.to_bytes(32, "big"),
            (_HEAD + len(proof)).to_bytes(32, "big"),
            address.rjust(32, b"\0"),
            task_definition_id.to_bytes(32, "big"),
            proof,
            _tail(data),
        )
    )


def digest_of(proof_of_task: str, data: bytes, performer: str, task_definition_id: int) -> bytes:
    """
    Hash a result the way the attestation contract does.

    Returns:
        32 bytes; no EIP-191 prefix, no second hash.

    Raises:
        ValueError: a field is out of its range.
    """
    return keccak(encoded(proof_of_task, data, performer, task_definition_id))


def _tail(value: bytes) -> bytes:
    return len(value).to_bytes(32, "big") + value + bytes(-len(value) % 32)
