"""
The first schema: chains, their recent blocks, rules, tasks, replaced payloads, incidents, facts.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables and the indexes that the stages live on."""
    op.create_table(
        "chains",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("chain_id", sa.BigInteger, nullable=False),
        sa.Column("genesis", sa.LargeBinary(32), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("timestamp", sa.BigInteger),
        sa.Column("head", sa.BigInteger, nullable=False),
        sa.Column("final", sa.BigInteger, nullable=False),
        sa.Column("halted", sa.Text),
        sa.Column("audited", sa.BigInteger, nullable=False),
        sa.Column("bloom_denied", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "blocks",
        sa.Column("chain", sa.String(64), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
    )
    op.create_table(
        "rules",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("chain", sa.String(64), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
    )
    op.create_table("tasks", *_task_columns())
    op.create_table(
        "replaced",
        _identity(),
        sa.Column("task_id", sa.BigInteger, nullable=False),
        sa.Column("replaced_at", sa.BigInteger, nullable=False),
        sa.Column("proof_of_task", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("performer", sa.String(42), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "incidents",
        _identity(),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("chain", sa.String(64), nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("from_block", sa.BigInteger),
        sa.Column("to_block", sa.BigInteger),
        sa.Column("depth", sa.BigInteger),
        sa.Column("count", sa.Integer, nullable=False, server_default=sa.text("1")),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_table(
        "facts", sa.Column("name", sa.String(96), primary_key=True), sa.Column("value", sa.Text, nullable=False)
    )
    _index("tasks_pending", "rule", "id", where="state = 'pending'")
    _index("tasks_running", "id", where="state = 'running'")
    _index("tasks_ready", "id", where="state = 'ready'")
    _index("tasks_failed", "settled_at", where="state = 'failed'")
    _index("tasks_pairs", "paired_id", where="paired_id IS NOT NULL")
    _index("tasks_held_back", "chain", where="not_before = 4611686018427387904")
    _index("tasks_late", "chain", "rule", "block_number", where="late")
    _index("tasks_off_chain", "chain", "block_number", where="NOT canonical")
    _index("tasks_digest", "digest", where="digest IS NOT NULL AND state <> 'cancelled'", unique=True)
    op.create_index("tasks_block", "tasks", ["chain", "block_number"])


def _task_columns() -> list[sa.Column[object]]:
    return [
        _identity(),
        sa.Column("key", sa.String(64), nullable=False, unique=True),
        sa.Column("rule", sa.String(128), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("trigger", sa.String(16), nullable=False),
        sa.Column("chain", sa.String(64), nullable=False),
        sa.Column("block_number", sa.BigInteger, nullable=False),
        sa.Column("block_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("block_timestamp", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger),
        sa.Column("transaction_hash", sa.LargeBinary(32)),
        sa.Column("log_index", sa.Integer),
        sa.Column("log", sa.LargeBinary),
        sa.Column("due", sa.BigInteger),
        sa.Column("body", sa.Text),
        sa.Column("task_definition_id", sa.Integer, nullable=False),
        sa.Column("proof_of_task", sa.Text),
        sa.Column("data", sa.LargeBinary),
        sa.Column("performer", sa.String(42)),
        sa.Column("digest", sa.LargeBinary(32)),
        sa.Column("signature", sa.LargeBinary),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("sends", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("canonical", sa.Boolean, nullable=False, server_default=sa.text("true")),
        sa.Column("orphaned", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("paired_id", sa.BigInteger),
        sa.Column("already_known", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("claim", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("claimant", sa.String(32)),
        sa.Column("claimed_until", sa.BigInteger),
        sa.Column("not_before", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("late", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("ages_from", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("sent_at", sa.BigInteger),
        sa.Column("retried_at", sa.BigInteger),
        sa.Column("accepted_at", sa.BigInteger),
        sa.Column("settled_at", sa.BigInteger),
        sa.Column("task_number", sa.BigInteger),
        sa.Column("outcome_transaction_hash", sa.LargeBinary(32)),
        sa.Column("error", sa.Text),
    ]


def _identity() -> sa.Column[object]:
    kind = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    column: sa.Column[object] = sa.Column("id", kind, primary_key=True, autoincrement=True)
    return column


def _index(name: str, *columns: str, where: str, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, "tasks", list(columns), unique=unique, sqlite_where=condition, postgresql_where=condition)
