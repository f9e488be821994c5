"""The database's schema, brought up to date by Alembic on SQLite and on PostgreSQL alike."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import MetaData, text
from sqlmodel import SQLModel

from aitbc.errors import AitbcError
from aitbc_coordinator import cursor, retirement
from aitbc_coordinator.database import Database
from aitbc_coordinator.fault_points import FaultPoint, reach
from aitbc_coordinator.market import models as market_models
from aitbc_coordinator.sessions import models as session_models
from aitbc_coordinator.settlement import models as settlement_models
from aitbc_coordinator.webhooks import models as webhook_models

_MODELS = (
    cursor,
    market_models,
    retirement,
    session_models,
    settlement_models,
    webhook_models,
)
"""Importing them fills the metadata."""
_LOCK_KEY = 0x61697462
"""Any constant number: replicas that start together migrate one after the other."""


def metadata() -> MetaData:
    """What the models say that the schema is."""
    return SQLModel.metadata


def upgrade(database: Database) -> None:
    """Bring a database to the newest schema, whole or not at all.

    Raises AitbcError for a database that a newer program has migrated.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    with database.engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise AitbcError(
                f"the database's schema is not one that this program knows: {error}",
                hint="it was made by a newer version: upgrade aitbc-coordinator",
            ) from error
        reach(FaultPoint.MIGRATION_WRITING)
    reach(FaultPoint.MIGRATION_WRITTEN)
