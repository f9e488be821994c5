"""The schema: built by the migrations, on both databases, and the same as the models say."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from aitbc.errors import AitbcError
from aitbc_coordinator import migrations
from aitbc_coordinator.database import Database


def test_migrations_and_models_agree(empty_database: Database) -> None:
    migrations.upgrade(empty_database)
    migrations.upgrade(empty_database)
    with empty_database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, migrations.metadata()) == []


def test_the_comparison_notices_a_difference(empty_database: Database) -> None:
    migrations.upgrade(empty_database)
    with empty_database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE gpu ADD COLUMN extra VARCHAR"))
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, migrations.metadata()) != []


def test_replicas_may_start_together(empty_database: Database) -> None:
    others = [Database(_url(empty_database)) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(_upgrade, others))
    for other in others:
        other.close()
    assert inspect(empty_database.engine).has_table("reservation")


def test_a_migration_that_fails_leaves_nothing(empty_database: Database) -> None:
    with empty_database.engine.begin() as connection:
        connection.execute(text("CREATE TABLE reservation (id INTEGER)"))
    with pytest.raises(Exception, match="reservation"):
        migrations.upgrade(empty_database)
    assert set(inspect(empty_database.engine).get_table_names()) == {"reservation"}


def test_a_newer_schema_is_refused(empty_database: Database) -> None:
    migrations.upgrade(empty_database)
    with empty_database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(AitbcError, match="9999") as caught:
        migrations.upgrade(empty_database)
    assert caught.value.hint == "it was made by a newer version: upgrade aitbc-coordinator"


def _url(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=False)


def _upgrade(database: Database) -> None:
    migrations.upgrade(database)
