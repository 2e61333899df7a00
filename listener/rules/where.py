"""
The conditions of an event rule, typed from the ABI when the configuration is loaded.

A plain value means equality; a table compares. Equality on an indexed argument becomes a topic filter, so that the
endpoint leaves out what cannot match; all else is tested on decoded values.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from listener.errors import ConfigError
from listener.rules.abi import EventAbi
from listener.rules.arguments import Argument
from listener.rules.nearest import suggestion
from listener.rules.operands import is_ordered, operand
from listener.rules.words import word

Test = Callable[[Any, Any], bool]

_ORDERS: dict[str, Test] = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
_TESTS: dict[str, Test] = {
    "eq": operator.eq,
    "ne": operator.ne,
    **_ORDERS,
    "in": lambda value, operands: value in operands,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of one argument."""

    argument: str
    comparison: str  # a key of _TESTS
    operand: Any  # as the decoder would return it; a frozenset for "in"

    def holds(self, args: Mapping[str, Any]) -> bool:
        """Test it on a log's arguments."""
        return _TESTS[self.comparison](args[self.argument], self.operand)

    def words(self, event: EventAbi) -> tuple[bytes, ...] | None:
        """Give the values that the argument's topic may have; None where a topic filter cannot say it."""
        if self.argument not in event.topics or self.comparison not in ("eq", "in"):
            return None
        kind = event.arguments[self.argument].canonical
        operands = self.operand if self.comparison == "in" else (self.operand,)
        return tuple(sorted(word(kind, value) for value in operands))


def conditions(where: Mapping[str, Any], event: EventAbi) -> tuple[Condition, ...]:
    """
    Read a rule's ``where`` table.

    Raises:
        ConfigError: an unknown argument or comparison, or a value that the argument's type cannot have.
    """
    return tuple(condition for name, value in where.items() for condition in _of_argument(name, value, event))


def _of_argument(name: str, value: Any, event: EventAbi) -> Iterator[Condition]:
    argument = event.arguments.get(name)
    if argument is None:
        raise ConfigError(f"where: {event.signature} has no argument {name}{suggestion(name, event.arguments)}")
    table = value if isinstance(value, Mapping) else {"eq": value}
    if not table:
        raise ConfigError(f"where.{name}: an empty table compares nothing; known: {', '.join(_TESTS)}")
    for comparison, raw in table.items():
        if comparison not in _TESTS:
            raise ConfigError(f'where.{name}: unknown comparison "{comparison}"{suggestion(comparison, _TESTS)}')
        try:
            yield Condition(name, comparison, _operands(argument, comparison, raw))
        except ValueError as error:
            place = f"where.{name}" if table is not value else f"where.{name}.{comparison}"
            raise ConfigError(f"{place}: {error}") from error


def _operands(argument: Argument, comparison: str, raw: Any) -> Any:
    if comparison == "in":
        if not isinstance(raw, list) or not raw:
            raise ValueError("write a list of one value or more")
        return frozenset(operand(argument, value) for value in raw)
    found = operand(argument, raw)
    if comparison in _ORDERS and not is_ordered(argument):
        raise ValueError(f"{argument.canonical} has no order; use eq, ne or in")
    return found
