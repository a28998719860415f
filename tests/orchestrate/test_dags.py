"""The shards of tap-hustle in a real Airflow, with Meltano and PostgreSQL: whole at the end, or it says what is not.

`make airflow-test` installs Airflow, and runs these.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from api_sandbox import Fault, Forbidden, HustleScenario, RunningSandbox, Scenario, serve_in_thread
from psycopg import sql
from singer_http.http.shard import Shard

from bench.airflow import DAG, Airflow
from demo.comparison import HUSTLE_SCHEMA
from demo.processes import RunningProgram, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from demo.postgres import Postgres

pytestmark = [
    pytest.mark.skipif("AIRFLOW" not in os.environ, reason="make airflow-test installs Airflow"),
    pytest.mark.timeout(3600),
]

SHARDS = 2
LEADS = 120
_FIRST_LEAD = 'SELECT min(id) FROM tap_hustle.leads WHERE "organizationId" = %s'
# In whichever order the shards are read, the warehouse does not keep this row.
_LOSE = """
    DELETE FROM tap_hustle.leads WHERE id = '{0}';
    CREATE FUNCTION tap_hustle.lose() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN IF NEW.id = '{0}' THEN RETURN NULL; END IF; RETURN NEW; END $$;
    CREATE TRIGGER lose BEFORE INSERT ON tap_hustle.leads FOR EACH ROW EXECUTE FUNCTION tap_hustle.lose();
"""


@pytest.fixture(scope="session")
def sandbox() -> Iterator[RunningSandbox]:
    scenario = HustleScenario(organizations=6, leads=LEADS, requests_per_second=None)
    with serve_in_thread(Scenario(hustle=scenario)) as running_sandbox:
        yield running_sandbox


@pytest.fixture(scope="session")
def warehouse(new_database: Callable[[], Postgres]) -> Postgres:
    return new_database()


@pytest.fixture(scope="session")
def airflow(sandbox: RunningSandbox, warehouse: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    variables = {
        "SANDBOX_HUSTLE_API_URL": sandbox.hustle.api_url,
        "SANDBOX_HUSTLE_AUTH_URL": sandbox.hustle.auth_url,
        "SANDBOX_HUSTLE_CLIENT_ID": sandbox.hustle.client_id,
        "SANDBOX_HUSTLE_CLIENT_SECRET": sandbox.hustle.client_secret,
        "SANDBOX_POSTGRES_URL": warehouse.sqlalchemy_url,
        "TAP_HUSTLE_PAGE_SIZE": "5",
        "TAP_HUSTLE_MAX_PARALLEL_REQUESTS": "1",
    }
    return Airflow.new(tmp_path_factory.mktemp("airflow"), warehouse, SHARDS, variables)


def organizations(sandbox: RunningSandbox, shard: int) -> list[int]:
    """The places of the organizations of a shard, among all."""
    ids = sandbox.truth.ids["organizations"]
    return [place for place, one in enumerate(ids) if Shard(shard, SHARDS).holds(one)]


@contextmanager
def held(
    airflow: Airflow, sandbox: RunningSandbox, *, code: int, organization: int, page: int
) -> Iterator[RunningProgram]:
    """Have a run of the DAG held where it asks for a page of leads, do what the block does, and let it end."""
    sandbox.faults.replace(Fault(kind="hold", path="/leads", organization=organization, page=page))
    with running(airflow.program("dags", "test", DAG)) as run:
        while True:
            try:
                sandbox.faults.wait_until_held()
                break
            except TimeoutError:
                assert run.guard.poll() is None, said(airflow)[-3000:]
        yield run
        sandbox.faults.clear()
        assert run.wait() == code, said(airflow)[-3000:]


def said(airflow: Airflow) -> str:
    """What the last run of the DAG said."""
    return airflow.program("dags", "test").log.read_text()


def faults(airflow: Airflow) -> list[str]:
    """What the last task found missing."""
    _, _, after = said(airflow).rpartition("AirflowFailException: ")
    return [line for line in after.splitlines() if line.startswith("Shard ")]


def tries(airflow: Airflow) -> dict[int, int]:
    """How often each shard was run."""
    query = """
        SELECT map_index, try_number FROM task_instance
        WHERE task_id = 'load' AND run_id = (SELECT run_id FROM dag_run ORDER BY id DESC LIMIT 1)
    """
    return dict(airflow.query(query))


def assert_complete(sandbox: RunningSandbox, warehouse: Postgres, *, without: frozenset[str] = frozenset()) -> None:
    """Every row is there once, and no other."""
    with warehouse.connect() as connection:
        for stream, ids in sandbox.truth.ids.items():
            query = sql.SQL("SELECT id FROM {}").format(sql.Identifier(HUSTLE_SCHEMA, stream))
            assert sorted(one for (one,) in connection.execute(query)) == sorted(set(ids) - without), stream


def kill_meltano(airflow: Airflow, run: RunningProgram) -> None:
    """Kill Meltano with all that it has started, and let its five minutes go by before Airflow tries again."""
    processes = psutil.Process(run.guard.pid).children(recursive=True)
    meltano = next(one for one in processes if "meltano" in [Path(word).name for word in one.cmdline()[:2]])
    task = meltano.parent()
    assert task is not None
    task.suspend()
    for one in [meltano, *meltano.children(recursive=True)]:
        one.kill()
    connections = "SELECT 1 FROM pg_stat_activity WHERE datname = 'meltano'"
    while airflow.query(connections):
        time.sleep(0.02)
    with airflow.meltano.connect() as connection:
        connection.execute("UPDATE runs SET last_heartbeat_at = last_heartbeat_at - interval '6 minutes'")
    task.resume()


def test_a_shard_that_was_killed_is_complete_after_its_retry(
    airflow: Airflow, sandbox: RunningSandbox, warehouse: Postgres
) -> None:
    with held(airflow, sandbox, code=0, organization=organizations(sandbox, 2)[0], page=2) as run:
        kill_meltano(airflow, run)
    assert tries(airflow) == {0: 1, 1: 2}
    assert_complete(sandbox, warehouse)


def test_what_is_forbidden_or_lost_is_named_by_the_last_task(
    airflow: Airflow, sandbox: RunningSandbox, warehouse: Postgres
) -> None:
    ids, first = sandbox.truth.ids["organizations"], organizations(sandbox, 2)[0]
    sandbox.run(lambda running: setattr(running.hustle, "forbidden", (Forbidden(organizations=(first,)),)))
    owner = ids[organizations(sandbox, 1)[0]]
    with warehouse.connect() as connection:
        ((lost,),) = connection.execute(_FIRST_LEAD, [owner]).fetchall()
        connection.execute(_LOSE.format(lost))
    with running(airflow.program("dags", "test", DAG)) as run:
        assert run.wait() == 1, said(airflow)[-3000:]
    sandbox.run(lambda running: setattr(running.hustle, "forbidden", ()))
    found = faults(airflow)
    assert {line.partition(": ")[0] for line in found if ids[first] in line} == {"Shard 2/2"}, found
    assert [line.partition(": ")[0] for line in found if ids[first] not in line] == ["Shard 1/2"], found
    assert f"organizationId {owner}: 1 row missing" in said(airflow)
    assert tries(airflow) == {0: 1, 1: 1}
    assert_complete(sandbox, warehouse, without=frozenset({lost}))


def test_shards_that_airflow_shows_as_success_and_that_never_ran_are_named(airflow: Airflow) -> None:
    with running(airflow.program("dags", "test", "--mark-success-pattern", "load", DAG)) as run:
        assert run.wait() == 1
    assert [line.partition(":")[0] for line in faults(airflow)] == [
        "Shard 1/2 left no report",
        "Shard 2/2 left no report",
    ]
