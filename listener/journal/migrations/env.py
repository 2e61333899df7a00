"""Alembic's entry: runs the versions on the connection it was given."""

from alembic import context

from listener.journal.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
