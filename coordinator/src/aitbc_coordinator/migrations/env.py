"""Run by Alembic, on the connection (and in the transaction) of `migrations.upgrade`."""

from typing import Any

from alembic import context
from sqlalchemy import event

from aitbc_coordinator.fault_points import FaultPoint, reach
from aitbc_coordinator.migrations import metadata

connection = context.config.attributes["connection"]


def after_revision(*_: Any, **__: Any) -> None:
    reach(FaultPoint.MIGRATION_REVISION)


@event.listens_for(connection, "after_cursor_execute")
def after_statement(*_: Any) -> None:
    reach(FaultPoint.MIGRATION_STATEMENT)


context.configure(
    connection=connection,
    target_metadata=metadata(),
    transactional_ddl=True,
    on_version_apply=after_revision,
)
with context.begin_transaction():
    context.run_migrations()
event.remove(connection, "after_cursor_execute", after_statement)
