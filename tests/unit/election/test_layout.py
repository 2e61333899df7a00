"""Every known layout of an answer is read, and no other is taken for one of them."""

import pytest
from eth_abi.abi import encode

from listener.election import layout
from listener.errors import ElectionFailed

A, B, C = (f"0x{digit * 40}" for digit in "123")  # digits alone: checksummed whatever their case
TUPLES = {3: "(address,uint256,uint256)", 4: "(address,uint256,uint256,uint256)"}
TUPLES[8] = "(address,uint256,uint256,uint256,uint256[4])"
REST = {3: (7,), 4: (7, 8), 8: (7, 8, [1, 2, 3, 4])}


def listed(width: int, *operators: tuple[str, int]) -> bytes:
    return encode([f"{TUPLES[width]}[]"], [[(*each, *REST[width]) for each in operators]])


@pytest.mark.parametrize("width", [3, 4, 8])
@pytest.mark.parametrize("operators", [[], [(A, 1)], [(C, 9), (A, 2), (B, 300)]])
def test_a_list_of_each_generation_is_read_by_ascending_id(width: int, operators: list[tuple[str, int]]) -> None:
    expected = [address for address, _ in sorted(operators, key=lambda each: each[1])]
    assert list(layout.active_operators(listed(width, *operators))) == expected


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        bytes(31),
        bytes(32),
        bytes(64),  # no offset
        listed(4, (A, 1), (B, 2))[:-32],  # cut short
        listed(4, (A, 1)) + bytes(32),  # five words
        encode(["(address,uint256)[]"], [[(A, 1), (B, 2)]]),
        encode(["(address,uint256,uint256,uint256,uint256)[]"], [[(A, 1, 2, 3, 4)]]),
        listed(4, (A, 1), (B, 1)),  # two operators of one id
        listed(4, (A, 0)),  # ids count from 1
        listed(4, (layout.NOBODY, 1)),
        encode(["(uint256,uint256,uint256)[]"], [[(2**160, 1, 2)]]),  # no address
        encode(["uint256", "uint256"], [32, 2**255]),
    ],
)
def test_an_answer_of_no_known_layout_is_refused(answer: bytes) -> None:
    with pytest.raises(ElectionFailed):
        layout.active_operators(answer)


def test_a_payment_detail_begins_with_the_operator() -> None:
    types = ["address", "uint256", "uint256", "uint8"]
    assert layout.payment_address(encode(types, [A, 1, 2, 1])) == A
    assert layout.payment_address(bytes(128)) == layout.NOBODY
    for answer in (bytes(96), encode(types[:3], [A, 1, 2]), b"\xff" * 128):
        with pytest.raises(ElectionFailed):
            layout.payment_address(answer)


def test_a_number_is_one_word() -> None:
    assert layout.number(encode(["uint256"], [2**256 - 1])) == 2**256 - 1
    for answer in (b"", bytes(31), bytes(64)):
        with pytest.raises(ElectionFailed):
            layout.number(answer)


def test_arguments_are_words() -> None:
    assert layout.word(5) == "5".rjust(64, "0")
    assert layout.word(A) == A[2:].rjust(64, "0")
