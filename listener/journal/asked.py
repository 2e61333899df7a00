"""
Appends tasks that no block makes: those asked for by HTTP and those of a schedule, in the caller's transaction.

They take the chain's cursor as their block, so that a handler and an election have one to read at, and nothing more:
neither a reorg nor a rewind, confirmations or the audit concern them.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, insert, select

from listener.journal.schema import chains, tasks
from listener.model import State

ASKED = frozenset({"schedule", "http"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """
    What somebody asks for, before the journal knows it.

    ``cause`` tells it apart from the rule's other tasks: an idempotency key, or the planned time. ``due`` is when it
    was planned or arrived, in Unix seconds. ``body`` is what JSON can write. ``expired`` says why it is journaled
    without being executed.
    """

    rule: str
    chain: str
    trigger: Literal["schedule", "http"]
    cause: str
    due: int
    body: Any = None
    expired: str | None = None

    @property
    def key(self) -> str:
        """Name the task: the same rule and cause give the same key, whoever asks."""
        cause = f"{self.rule}|{self.cause}".encode(errors="surrogatepass")  # a header may hold any bytes
        # Personalised: no cause, whatever it says, gives the key of a block.
        return hashlib.blake2b(cause, digest_size=16, person=self.trigger.encode()).hexdigest()

    @property
    def text(self) -> str | None:
        """The body as it is kept: equal bodies are equal text."""
        if self.body is None:
            return None
        return json.dumps(self.body, sort_keys=True, separators=(",", ":"), allow_nan=False)


class Taken(NamedTuple):
    """What became of what was asked: the task, whether it is new, and whether it was asked for with the same body."""

    task: int
    is_new: bool
    same_body: bool


def append(connection: Connection, asked: Asked, definition: int, now: int) -> Taken | None:
    """
    Append the task, unless there is one of its cause.

    Returns:
        None where the chain has no cursor yet whose block is known; nothing is written.
    """
    text = asked.text
    known = connection.execute(select(tasks.c.id, tasks.c.body).where(tasks.c.key == asked.key)).first()
    if known is not None:
        return Taken(known.id, is_new=False, same_body=known.body == text)
    cursor = (chains.c.number, chains.c.hash, chains.c.timestamp)
    at = connection.execute(select(*cursor).where(chains.c.name == asked.chain)).first()
    if at is None or at.timestamp is None:
        return None
    row = {
        "key": asked.key,
        "rule": asked.rule,
        "state": State.PENDING if asked.expired is None else State.EXPIRED,
        "trigger": asked.trigger,
        "chain": asked.chain,
        "block_number": at.number,
        "block_hash": at.hash,
        "block_timestamp": at.timestamp,
        "due": asked.due,
        "body": text,
        "task_definition_id": definition,
        "ages_from": asked.due,
        "created_at": now,
        "error": asked.expired,
        "settled_at": None if asked.expired is None else now,
    }
    (task_id,) = connection.execute(insert(tasks).values(row)).inserted_primary_key or (0,)
    return Taken(task_id, is_new=True, same_body=True)
