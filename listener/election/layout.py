"""
The attestation contract's views on operators: their selectors, and what their answers look like in each generation.

The newest generations list the active operators in one call, as tuples of three, four or eight words: address, id,
voting power, fee to claim, BLS key. The selector is the same, so only the answer's length tells them apart. An answer
that fits none of them is refused: decoded as another, it would give addresses that nobody owns.
"""

from collections.abc import Iterator

from eth_utils.address import to_checksum_address

from listener.errors import ElectionFailed

ACTIVE_OPERATORS = "0x9878eccb"  # getActiveOperatorsDetails(); absent in the older generations
NUM_OF_OPERATORS = "0x6ade02da"  # numOfOperators(): the active ones; gone in the newer generations
NUM_OF_ACTIVE_OPERATORS = "0x7897dec3"  # numOfActiveOperators()
PAYMENT_DETAIL = "0x9eb72d4c"  # getOperatorPaymentDetail(uint256 id): zeros for an unknown id
ID_BY_ADDRESS = "0x5b15c568"  # operatorsIdsByAddress(address): reverts for who is not registered

NOBODY = "0x0000000000000000000000000000000000000000"
_WORD = 32
_WIDTHS = (3, 4, 8)  # words of one operator in a list


def active_operators(answer: bytes) -> tuple[str, ...]:
    """
    Read a list of operators, by ascending id.

    Raises:
        ElectionFailed: it has none of the known layouts.
    """
    words = list(_words(answer))
    if len(words) < 2 or words[0] != _WORD:
        raise ElectionFailed(f"getActiveOperatorsDetails answered {len(answer)} bytes that are no list")
    count, fields = words[1], words[2:]
    width = len(fields) // count if count else 0
    if width * count != len(fields) or (count and width not in _WIDTHS):
        raise ElectionFailed(
            f"getActiveOperatorsDetails answered {count} operators in {len(fields)} words, which is no known layout"
        )
    by_id = {fields[place + 1]: _address_of(fields[place]) for place in range(0, len(fields), width or 1)}
    if len(by_id) != count or 0 in by_id or NOBODY in by_id.values():
        raise ElectionFailed("getActiveOperatorsDetails answered operators without an address or an id of their own")
    return tuple(by_id[each] for each in sorted(by_id))


def number(answer: bytes) -> int:
    """
    Read one integer.

    Raises:
        ElectionFailed: it is none.
    """
    words = list(_words(answer))
    if len(words) != 1:
        raise ElectionFailed(f"the attestation contract answered {len(answer)} bytes where one integer was asked for")
    return words[0]


def payment_address(answer: bytes) -> str:
    """
    Read the operator of a payment detail, which is nobody's where the id is unknown.

    Raises:
        ElectionFailed: it is no payment detail.
    """
    words = list(_words(answer))
    if len(words) != 4:
        raise ElectionFailed(f"getOperatorPaymentDetail answered {len(answer)} bytes, and four words were expected")
    return _address_of(words[0])


def word(value: int | str) -> str:
    """Write an argument: an integer, or an address."""
    return f"{int(value, 16) if isinstance(value, str) else value:064x}"


def _words(answer: bytes) -> Iterator[int]:
    if len(answer) % _WORD:
        raise ElectionFailed(f"the attestation contract answered {len(answer)} bytes, which are no words")
    return (int.from_bytes(answer[place : place + _WORD]) for place in range(0, len(answer), _WORD))


def _address_of(value: int) -> str:
    if value >> 160:
        raise ElectionFailed("the attestation contract answered a word where an address was expected")
    return to_checksum_address(value.to_bytes(20))
