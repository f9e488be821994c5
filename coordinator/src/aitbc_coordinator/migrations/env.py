"""Run by Alembic, on the connection (and in the transaction) of `migrations.upgrade`."""

from alembic import context

from aitbc_coordinator.migrations import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata(),
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
