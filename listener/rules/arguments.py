"""
One argument of an event: its type as the ABI gives it, and how its value is read from the topics or the data.

Words, ``bytes`` and ``string`` are read by hand; arrays and tuples by an eth-abi decoder that is built once.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

from eth_abi.decoding import ContextFramesBytesIO
from eth_abi.exceptions import ParseError
from eth_abi.grammar import normalize, parse
from eth_abi.registry import registry
from hexbytes import HexBytes
from pydantic import BaseModel, ConfigDict

from listener.rules.words import WORD, checksummed, reader

DataReader = Callable[[bytes], Any]
Shape = Callable[[Any], Any]  # from what eth-abi returns to what a handler sees


class Argument(BaseModel):
    """An input of an event, or a component of a tuple, as an ABI file writes it."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    name: str = ""
    type: str
    indexed: bool = False
    components: tuple["Argument", ...] = ()

    @cached_property
    def canonical(self) -> str:
        """The type as it stands in a signature: tuples spelled out."""
        if self.type.startswith("tuple"):
            inner = ",".join(component.canonical for component in self.components)
            return f"({inner}){self.type.removeprefix('tuple')}"
        if self.type.startswith("function"):
            return self.type  # a word of 24 bytes, but not called so in a signature
        return str(normalize(self.type))  # type: ignore[no-untyped-call]

    @property
    def is_compound(self) -> bool:
        """Arrays and tuples, on which there are no conditions."""
        return self.canonical.endswith((")", "]"))

    @property
    def is_hashed(self) -> bool:
        """Indexed, and not a single word: the topic holds the hash of the value."""
        return self.indexed and (self.is_compound or self.canonical in ("bytes", "string"))

    @property
    def head_size(self) -> int:
        """The bytes it takes at its place in the data; the rest of a dynamic value stands behind a pointer."""
        if self.is_dynamic:
            return WORD
        if self.is_compound:
            return self._words * WORD
        return WORD

    @property
    def problem(self) -> str | None:
        """Why its type cannot be read; None where it can."""
        if self.type.startswith("("):
            return f'"{self.type}" is not an ABI type; write "tuple", with its parts as components'
        try:
            parse(self.canonical).validate()
            registry.get_decoder(self.canonical)
        except (ParseError, ValueError) as error:
            return f'"{self.type}" is not an ABI type ({str(error).splitlines()[0]})'
        return next((part.problem for part in self.components if part.problem), None)

    @cached_property
    def _item(self) -> "Argument":
        return Argument(type=self.type[: self.type.rindex("[")], components=self.components)

    @property
    def is_dynamic(self) -> bool:
        """Of no fixed length: its place in the data holds a pointer."""
        return bool(parse(self.canonical).is_dynamic)

    @property
    def _words(self) -> int:
        """How many words a static value takes."""
        if self.type.endswith("]"):
            return int(self.type[self.type.rindex("[") + 1 : -1]) * self._item._words  # noqa: SLF001 -- the same class
        if self.type == "tuple":
            return sum(component._words for component in self.components)  # noqa: SLF001 -- the same class
        return 1

    def topic_reader(self) -> DataReader:
        """Give the function that reads its topic: the value, or the 32-byte hash of one that is longer than a word."""
        return HexBytes if self.is_hashed else self._word_reader()

    def data_reader(self, head: int) -> DataReader:
        """
        Give the function that reads it from a log's data.

        Args:
            head: where it stands among the heads, in bytes.

        Returns:
            A function that raises ValueError, or an error of eth-abi, on data that does not hold such a value.
        """
        if self.canonical in ("bytes", "string"):
            return _tail_reader(head, HexBytes if self.canonical == "bytes" else _text)
        if self.is_compound:
            return _compound_reader(head, self, _shape(self))
        read, end = self._word_reader(), head + WORD
        return lambda data: read(data[head:end])

    def _word_reader(self) -> DataReader:
        return reader(self.canonical) or _coder(self.canonical)


def names(arguments: Sequence[Argument]) -> list[str]:
    """Give the names under which values are found: an argument without one goes by its position."""
    return [argument.name or str(position) for position, argument in enumerate(arguments)]


def _text(data: bytes) -> str:
    return data.decode()


def _tail_reader(head: int, make: DataReader) -> DataReader:
    def read(data: bytes) -> Any:
        start = int.from_bytes(data[head : head + WORD], "big") + WORD
        if start > len(data):
            raise ValueError("a pointer leads outside the data")
        end = start + int.from_bytes(data[start - WORD : start], "big")
        if end > len(data):  # Solidity pads to whole words, others do not: the padding is not asked for
            raise ValueError("a value ends outside the data")
        return make(data[start:end])

    return read


def _compound_reader(head: int, argument: Argument, shape: Shape) -> DataReader:
    decode, is_dynamic = _coder(argument.canonical), argument.is_dynamic

    def read(data: bytes) -> Any:
        start = int.from_bytes(data[head : head + WORD], "big") if is_dynamic else head
        if start > len(data):
            raise ValueError("a pointer leads outside the data")
        return shape(decode(data[start:]))

    return read


def _coder(canonical: str) -> DataReader:
    """Give eth-abi's decoder of one type; as lenient about padding as Solidity is."""
    decoder: Callable[[Any], Any] = registry.get_decoder(canonical, strict=False)
    return lambda data: decoder(ContextFramesBytesIO(data))  # type: ignore[no-untyped-call]


def _shape(argument: Argument) -> Shape:
    if argument.type.endswith("]"):
        item = _shape(argument._item)  # noqa: SLF001 -- the same file
        return lambda values: tuple(map(item, values))
    if argument.type == "tuple":
        keys, shapes = names(argument.components), [_shape(component) for component in argument.components]
        return lambda values: _mapping(keys, shapes, values)
    if argument.type == "address":
        return lambda value: checksummed(bytes.fromhex(value[2:]))
    if argument.type.startswith(("bytes", "function")):
        return HexBytes
    return lambda value: value


def _mapping(keys: Sequence[str], shapes: Sequence[Shape], values: Sequence[Any]) -> Mapping[str, Any]:
    return MappingProxyType({key: shape(value) for key, shape, value in zip(keys, shapes, values, strict=True)})
