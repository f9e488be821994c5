"""Of the coordinators over one database one leads, and the next one as soon as it is gone."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from aitbc_coordinator.database import Database
from aitbc_coordinator.leadership import Leadership

LEAD_AND_WAIT = """
import sys
from aitbc_coordinator.database import Database
from aitbc_coordinator.leadership import Leadership
leadership = Leadership(Database(sys.argv[1]))
print("leads:", leadership.hold(), file=sys.stderr, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def replica(database: Database) -> Iterator[Database]:
    """The same database, as another coordinator opens it."""
    made = Database(database.url)
    yield made
    made.close()


def test_one_leads_and_lets_the_other_lead(database: Database, replica: Database) -> None:
    one, other = Leadership(database), Leadership(replica)
    assert [one.leads, one.hold(), one.hold(), one.leads] == [False, True, True, True]
    assert [other.hold(), other.leads] == [False, False]
    one.release()
    assert [one.leads, other.hold(), one.hold(), one.leads] == [False, True, False, False]
    other.release()
    other.release()
    assert one.hold()
    one.release()


def test_the_next_one_leads_when_a_leader_is_killed(database: Database) -> None:
    leadership = Leadership(database)
    command = [sys.executable, "-c", LEAD_AND_WAIT, database.url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as leader:
        assert leader.stderr is not None
        assert leader.stderr.readline() == "leads: True\n"
        assert not leadership.hold()
        leader.kill()
        leader.wait()
    while not leadership.hold():
        pass
    leadership.release()


@pytest.fixture
def server(postgresql: Callable[[], AbstractContextManager[Database]]) -> Iterator[Database]:
    with postgresql() as made:
        yield made


def end_the_leaders_connection(database: Database) -> None:
    query = """
        SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
    with database.session() as session:
        assert session.execute(text(query)).scalars().all() == [True]


def test_a_leader_that_lost_its_connection_asks_anew(server: Database) -> None:
    one, other = Leadership(server), Leadership(server)
    assert one.hold()
    end_the_leaders_connection(server)
    while not other.hold():
        pass
    assert [one.hold(), one.leads] == [False, False]
    other.release()
    assert one.hold()
    one.release()


def test_nobody_leads_without_a_database(server: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    leadership = Leadership(server)
    assert leadership.hold()
    nowhere = Database("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    monkeypatch.setattr(leadership._lock, "_engine", nowhere.engine)
    end_the_leaders_connection(server)

    def lead_on() -> None:
        for _ in range(1000):
            leadership.hold()

    with pytest.raises(OperationalError, match="refused"):
        lead_on()
    assert not leadership.leads
    leadership.release()
    nowhere.close()
