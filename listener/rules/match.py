"""The one question that the walk asks: which triggers a block holds."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from listener.model import Block, Log, Occasion
from listener.rules.matcher import Matcher


def match(matchers: Iterable[Matcher], block: Block, logs: Sequence[Log]) -> list[Occasion]:
    """
    Find the triggers of one block.

    Args:
        matchers: the rules of the block's chain, in the order of the configuration.
        block: the block.
        logs: its logs, in the order of their index; logs that no rule wants may be among them.

    Returns:
        Block and epoch triggers, then event triggers by log index; inside one log, and among the first, by rule.
    """
    by_address: defaultdict[str, list[Log]] = defaultdict(list)  # many rules, many logs: each rule sees its contract's
    for log in logs:
        by_address[log.address].append(log)
    occasions: list[Occasion] = []
    for matcher in matchers:
        mine = () if matcher.filter is None else by_address.get(matcher.filter.address, ())
        occasions.extend(matcher.occasions(block, mine))
    occasions.sort(key=_position)  # stable: the order of the rules stays
    return occasions


def _position(occasion: Occasion) -> int:
    return -1 if occasion.log is None else occasion.log.index
