"""
The journal's tables. Times are integers: microseconds since the epoch, UTC. Hashes, digests and data are bytes.

What a column means to the outside is in ``rows.py``; the migrations in ``migrations/`` make exactly these tables.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    literal_column,
    text,
)

T = TypeVar("T")

HELD_BACK = 2**62  # as not_before: after any clock; see late.py
REVISION = "0001"  # the newest migration: a journal that says so needs none

metadata = MetaData()

chains = Table(
    "chains",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("chain_id", BigInteger, nullable=False),
    Column("genesis", LargeBinary(32), nullable=False),  # tells a restarted local chain from a reorganised one
    Column("number", BigInteger, nullable=False),  # the cursor …
    Column("hash", LargeBinary(32), nullable=False),  # … and its hash
    Column("timestamp", BigInteger),  # … and its time, Unix seconds; NULL until its header was read
    Column("head", BigInteger, nullable=False),  # newest block seen when the cursor was written
    Column("final", BigInteger, nullable=False),  # no block up to here is ever replaced
    Column("halted", Text),  # why the chain is not followed, or NULL
    Column("audited", BigInteger, nullable=False),  # the audit sweep's cursor: up to here every log was read twice
    Column("bloom_denied", Boolean, nullable=False, server_default=text("false")),  # a bloom lied: none is used again
    Column("updated_at", BigInteger, nullable=False),
)

# Hashes of the walked blocks that may still be replaced: the way back to a common ancestor.
blocks = Table(
    "blocks",
    metadata,
    Column("chain", String(64), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("hash", LargeBinary(32), nullable=False),
)

# From which block on each rule's present trigger applies.
rules = Table(
    "rules",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("chain", String(64), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("since", BigInteger, nullable=False),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("key", String(64), nullable=False, unique=True),
    Column("rule", String(128), nullable=False),
    Column("state", String(16), nullable=False),
    Column("trigger", String(16), nullable=False),
    Column("chain", String(64), nullable=False),
    Column("block_number", BigInteger, nullable=False),
    Column("block_hash", LargeBinary(32), nullable=False),
    Column("block_timestamp", BigInteger, nullable=False),  # Unix seconds, as the chain gives it
    Column("epoch", BigInteger),
    Column("transaction_hash", LargeBinary(32)),
    Column("log_index", Integer),
    Column("log", LargeBinary),  # JSON [address, [topic, …], data], lower-case hex: decoded where it is used
    Column("due", BigInteger),  # Unix seconds: the planned time, or the arrival; NULL where a block was the cause
    Column("body", Text),  # JSON: what an HTTP request said
    Column("task_definition_id", Integer, nullable=False),
    Column("proof_of_task", Text),
    Column("data", LargeBinary),
    Column("performer", String(42)),
    Column("digest", LargeBinary(32)),
    Column("signature", LargeBinary),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("sends", Integer, nullable=False, server_default=text("0")),
    Column("canonical", Boolean, nullable=False, server_default=text("true")),  # is the block on the chain we walked
    Column("orphaned", Boolean, nullable=False, server_default=text("false")),  # sent, and the block left the chain
    Column("paired_id", BigInteger),  # on a skipped row: the orphaned task that was sent for the same cause
    Column("already_known", Boolean, nullable=False, server_default=text("false")),
    Column("claim", Integer, nullable=False, server_default=text("0")),  # raised when a claimant must lose the row
    Column("claimant", String(32)),  # whose it is, where several processes share the journal …
    Column("claimed_until", BigInteger),  # … and until when, unless it is renewed
    Column("not_before", BigInteger, nullable=False, server_default=text("0")),
    Column("late", Boolean, nullable=False, server_default=text("false")),  # found after an outage: see catch_up
    Column("ages_from", BigInteger, nullable=False),  # Unix seconds; what max_age counts from
    Column("created_at", BigInteger, nullable=False),
    Column("sent_at", BigInteger),
    Column("retried_at", BigInteger),  # an operator had its payload sent again: it counts as sent, give_up_after anew
    Column("accepted_at", BigInteger),
    Column("settled_at", BigInteger),
    Column("task_number", BigInteger),
    Column("outcome_transaction_hash", LargeBinary(32)),
    Column("error", Text),
)

# Payloads that an operator had replaced by name: what was signed is never forgotten.
replaced = Table(
    "replaced",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("task_id", BigInteger, nullable=False),
    Column("replaced_at", BigInteger, nullable=False),
    Column("proof_of_task", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("performer", String(42), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("signature", LargeBinary, nullable=False),
)

# What went wrong and was borne: gaps, reconnects, reorgs, halts, what the audit found.
incidents = Table(
    "incidents",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False),  # gap | reconnect | reorg | halt | audit
    Column("chain", String(64), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),  # NULL while it lasts
    Column("from_block", BigInteger),
    Column("to_block", BigInteger),
    Column("depth", BigInteger),
    Column("count", Integer, nullable=False, server_default=text("1")),  # repeats within a minute
    Column("detail", Text, nullable=False),
)

# What is to be known of the journal as a whole, by name.
facts = Table("facts", metadata, Column("name", String(96), primary_key=True), Column("value", Text, nullable=False))


_CHUNK = 500  # values in one IN list: SQLite takes 32766, and a plan is cheap

# What no block made is no block's: a reorg, a rewind and the audit leave it alone, though it names one.
of_a_block = tasks.c.trigger.not_in(("schedule", "http"))


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut what would be a long IN list into several."""
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))


def in_state(state: str) -> ColumnElement[bool]:
    """
    Make the condition that a task is in a state, with the state written into the statement.

    Were it bound, SQLite would need its value to see that a partial index applies, and so would plan the statement anew
    at every call: 104 µs for a claim instead of 15.
    """
    return tasks.c.state == literal_column(f"'{state}'")


def _partial(name: str, *columns: Column[object], where: str, unique: bool = False) -> Index:
    return Index(name, *columns, unique=unique, sqlite_where=text(where), info={"where": where})


def suit_postgresql() -> None:
    """
    Make the partial indexes partial on PostgreSQL as well.

    Not at import: SQLAlchemy would load all it has for PostgreSQL, 2 MB that a journal in a file does not need.
    """
    for index in tasks.indexes:
        if "where" in index.info:
            index.dialect_kwargs["postgresql_where"] = text(index.info["where"])


# Each stage asks for one state only, so each has an index that holds just its rows.
_partial("tasks_pending", tasks.c.rule, tasks.c.id, where="state = 'pending'")
_partial("tasks_running", tasks.c.id, where="state = 'running'")
_partial("tasks_ready", tasks.c.id, where="state = 'ready'")
_partial("tasks_failed", tasks.c.settled_at, where="state = 'failed'")  # the dead letters, which are counted
_partial("tasks_pairs", tasks.c.paired_id, where="paired_id IS NOT NULL")
_partial("tasks_held_back", tasks.c.chain, where=f"not_before = {HELD_BACK}")
_partial("tasks_late", tasks.c.chain, tasks.c.rule, tasks.c.block_number, where="late")
_partial("tasks_off_chain", tasks.c.chain, tasks.c.block_number, where="NOT canonical")
# One effect, one row: a second row with the same digest could never be settled.
_partial("tasks_digest", tasks.c.digest, where="digest IS NOT NULL AND state <> 'cancelled'", unique=True)
Index("tasks_block", tasks.c.chain, tasks.c.block_number)
