from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import sqlalchemy as sa
from api_sandbox import HarksterScenario, RunningSandbox, Scenario, serve_in_thread
from target_harkster.ledger.model import METADATA
from target_harkster.target import TargetHarkster

from demo.postgres import Postgres
from tests.harkster.running import CHANNEL, Ran, Target


@pytest.fixture(scope="session", autouse=True)
def statements_are_compiled_once() -> Iterator[None]:
    """All ledgers in files share what SQLAlchemy has made of their statements, as those of one run do."""
    create_engine = sa.create_engine
    first = create_engine("sqlite://")
    first.connect().close()
    first.dispose()
    compiled: dict[Any, Any] = {}

    def sharing(url: Any, **options: Any) -> sa.Engine:
        engine = create_engine(url, **options)
        if engine.dialect.name == "sqlite":
            engine.dialect = first.dialect
            engine.update_execution_options(compiled_cache=compiled)
        return engine

    create_all = METADATA.create_all
    tables: list[str] = []
    new = sa.create_mock_engine("sqlite://", lambda made, *_: tables.append(str(made.compile(dialect=first.dialect))))
    create_all(new, checkfirst=False)

    def created(connection: sa.Connection) -> None:
        if connection.dialect.name != "sqlite" or sa.inspect(connection).get_table_names():
            create_all(connection)
        else:
            for statement in tables:
                connection.exec_driver_sql(statement)

    with mock.patch.object(sa, "create_engine", sharing), mock.patch.object(METADATA, "create_all", created):
        yield


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    """A sandbox for tests that leave no mark on others, each with a channel of its own: every run lists all of them."""
    with serve_in_thread(Scenario(harkster=HarksterScenario(requests_per_second=None))) as running:
        running.harkster.set_quota("Acme Inc.", quota=1_000_000)
        yield running


@pytest.fixture(autouse=True)
def all_ledgers_are_closed(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test opens of ledgers, whatever ends its runs, is closed again."""
    is_open: set[int] = set()

    def opens(connection: Any, _record: Any) -> None:
        is_open.add(id(connection))

    def closes(connection: Any, _record: Any) -> None:
        is_open.discard(id(connection))

    sa.event.listen(sa.Pool, "connect", opens)
    sa.event.listen(sa.Pool, "close", closes)
    yield
    sa.event.remove(sa.Pool, "connect", opens)
    sa.event.remove(sa.Pool, "close", closes)
    # Who dies closes nothing.
    assert not is_open or request.node.get_closest_marker("filterwarnings")


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """A PostgreSQL for ledgers."""
    return postgres.sqlalchemy_url


@pytest.fixture
def serve(request: pytest.FixtureRequest) -> Callable[..., RunningSandbox]:
    """Start a sandbox of one's own, which ends with the test."""

    def served(**details: Any) -> RunningSandbox:
        details.setdefault("requests_per_second", None)
        context = serve_in_thread(Scenario(harkster=HarksterScenario(**details)))
        running = context.__enter__()
        request.addfinalizer(lambda: context.__exit__(None, None, None))
        return running

    return served


@pytest.fixture
def target(sandbox: RunningSandbox, tmp_path: Path) -> Target:
    """A target with a channel and a ledger of its own."""
    return Target.into_new_channel(sandbox, tmp_path)


__all__ = ["CHANNEL", "Ran", "TargetHarkster"]
