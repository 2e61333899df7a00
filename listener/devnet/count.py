"""
The count from outside: the triggers that the canonical chain holds, against the calls that the aggregator accepted.

Pure functions over what the chain and the aggregator say. Nothing here asks the daemon or its journal, nor uses its
code: what a proof of task looks like is written down a second time.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BLOCK_RULE = "every-5-blocks"
EVERY = 5
EPOCH_RULE = "epochs"
EPOCH_LENGTH = 12
EVENT_RULE = "intents"


@dataclass(frozen=True, slots=True)
class Kept:
    """A rule whose proof is kept elsewhere and known by a CID: it counts by the block, and the log, that it names."""

    name: str
    definition: int  # id, uint16
    every: int = 0  # blocks; 0 for a rule on logs


PRICES = Kept("prices", 3, 4)
HEALTH = Kept("health", 4, 6)
ROLES = Kept("keepers", 5, 7)
DOMAINS = Kept("domains", 6)
KEPT = (PRICES, HEALTH, ROLES, DOMAINS)


@dataclass(frozen=True, slots=True)
class Expected:
    """
    A trigger on the canonical chain.

    ``cause`` is what stays the same when a reorg moves it to another block: an intent's transaction. A block has none.
    """

    rule: str
    block_number: int
    proof: str  # the proof of task that this trigger must lead to
    cause: str


@dataclass(frozen=True, slots=True)
class Count:
    """How the accepted calls cover the expected triggers."""

    triggers: int
    missed: tuple[Expected, ...]
    doubled: int  # accepted calls beyond the first for one trigger
    stray: int  # accepted calls for no trigger of the canonical chain


def expected(
    blocks: Iterable[Mapping[str, Any]], events: Iterable[Mapping[str, Any]], kept: Iterable[Kept] = ()
) -> list[Expected]:
    """List the triggers of canonical blocks and IntentSent logs, both as the chain writes them."""
    return [*_of_blocks(blocks, [each for each in kept if each.every]), *_of_events(events)]


def expected_of(kept: Kept, events: Iterable[Mapping[str, Any]]) -> list[Expected]:
    """List the triggers of logs for a rule whose proof is kept elsewhere."""
    names = [
        (int(each["blockNumber"], 16), _named(kept, each["blockHash"], int(each["logIndex"], 16))) for each in events
    ]
    return [Expected(kept.name, number, name, name) for number, name in names]


def count(triggers: Iterable[Expected], accepted: Iterable[str]) -> Count:
    """
    Compare expected triggers with the proofs of accepted calls.

    An intent that was accepted before a reorg moved its transaction counts as done: it must not be executed again.
    """
    triggers = list(triggers)
    calls = Counter(accepted)
    doubled = sum(max(0, calls[trigger.proof] - 1) for trigger in triggers)
    absent = [trigger for trigger in triggers if calls[trigger.proof] == 0]
    proofs = {trigger.proof for trigger in triggers}
    others = Counter(_cause(proof) for proof, times in calls.items() if proof not in proofs for _ in range(times))
    missed = []
    for trigger in absent:
        if others[trigger.cause] > 0:
            others[trigger.cause] -= 1
        else:
            missed.append(trigger)
    again = sum(others[cause] for cause in {trigger.cause for trigger in triggers})
    return Count(len(triggers), tuple(missed), doubled + again, others.total() - again)


def counted_as(definition: int, proof: str, content: Mapping[str, Any] | None) -> str:
    """
    Return what an accepted proof is compared by: itself, or for one that is kept elsewhere its rule, block and log.

    Args:
        definition: the task definition id that it was sent with.
        proof: the proof of task.
        content: what is kept under it; None where nothing was found.
    """
    kept = next((each for each in KEPT if each.definition == definition), None)
    if kept is None or content is None:
        return proof
    return _named(kept, str(content.get("blockHash")), content.get("logIndex"))


def _named(kept: Kept, block_hash: str, log_index: Any = None) -> str:
    return f"{kept.name}+{block_hash}" if log_index is None else f"{kept.name}+{block_hash}+{log_index}"


def _of_blocks(blocks: Iterable[Mapping[str, Any]], kept: Sequence[Kept]) -> Iterable[Expected]:
    for block in blocks:
        number, block_hash = int(block["number"], 16), block["hash"]
        for rule, period in ((BLOCK_RULE, EVERY), (EPOCH_RULE, EPOCH_LENGTH)):
            if number % period == 0:
                proof = f"{number}+{rule}+{block_hash}"
                yield Expected(rule, number, proof, _cause(proof))
        for each in kept:
            if number % each.every == 0:
                proof = _named(each, block_hash)
                yield Expected(each.name, number, proof, proof)


def _of_events(events: Iterable[Mapping[str, Any]]) -> Iterable[Expected]:
    for event in events:
        number = int(event["blockNumber"], 16)
        proof = f"{number}+{event['transactionHash']}+{int(event['logIndex'], 16)}"
        yield Expected(EVENT_RULE, number, proof, _cause(proof))


def _cause(proof: str) -> str:
    """Return a proof without the part that a reorg may change: of an intent, its transaction alone."""
    fields = proof.split("+")
    return fields[1] if len(fields) == 3 and fields[1].startswith("0x") else proof
