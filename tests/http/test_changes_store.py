"""What remembers what was sent: an SQLite file, or a PostgreSQL."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

import pytest
from singer_http.changes.store import Row, Store
from singer_http.http.errors import ConfigurationError, FatalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from demo.postgres import Postgres

DAY = 86_400.0
TABLE = 1 << 47
NOW = 1_700_000_000.0


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    url = f"sqlite:///{tmp_path}/store.db"
    if request.param == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.sqlalchemy_url
    stores = []

    def open_() -> Store:
        stores.append(Store(url))
        return stores[-1]

    yield open_
    for store in stores:
        store.close()


def row(key: int, *, row_hash: bytes | None = b"12345678", number: int = 1, part: int = 5) -> Row:
    return b"%d" % key, key, row_hash, number, part


@pytest.mark.parametrize("reopened", [False, True], ids=["same run", "killed"])
@pytest.mark.parametrize("number", [1200, 4500])
def test_what_is_put_is_found(
    opened: Callable[[], Store], monkeypatch: pytest.MonkeyPatch, number: int, *, reopened: bool
) -> None:
    """Whether it is still in the log or not, of this run or of one that was killed."""
    monkeypatch.setattr("singer_http.changes.store._TOGETHER", 2000)  # a tenth of what it is
    monkeypatch.setattr("singer_http.changes.store._PLACES", 5000)
    store = opened()
    run = store.begin("leads x", None, "f", NOW)
    many = [row(key) for key in range(number)]
    for at in range(0, number, 600):
        store.put(run, TABLE, many[at : at + 600])
    last = row(7, row_hash=None, number=2, part=6)
    store.put(run, TABLE, [many[7], row(7, row_hash=b"00000000"), last])
    if reopened:
        store.close()
        store = opened()
        run = store.begin("leads x", None, "f", NOW)
    keys = [key for key, *_ in many[:1100]]
    for _ in range(2):
        if reopened:
            assert store.survey(run, TABLE) == (number, {5: number - 1, 6: 0})
        found = store.find(TABLE, keys)
        assert found.keys() == set(keys)
        assert found[b"7"] == last
        assert store.find(TABLE + 1, [b"7"]) == {}
        store.put_in_order(run, TABLE)
    (found_at,) = store.at(TABLE, range(3, 12))
    assert sorted(found_at, key=itemgetter(1)) == [*many[3:7], last, *many[8:12]]
    assert sum(map(len, store.at(TABLE, range(2 * number)))) == number
    assert store.survey(run, TABLE + 1) == (0, {})


def test_only_the_run_that_a_state_is_from_is_believed(opened: Callable[[], Store]) -> None:
    store = opened()
    first = store.begin("leads x", None, "f", NOW)
    assert (first.number, first.believed) == (1, 0)
    second = store.begin("leads x", first.id, "f", NOW)
    assert (second.number, second.believed, second.is_same) == (2, 1, True)
    assert store.begin("leads x", second.id, "other", NOW).is_same is False
    for run_id in ("1-0000", f"9-{first.token}", f"2-{first.token}", "-", "x", "99999999999999999999-a"):
        assert store.begin("leads x", run_id, "f", NOW).believed == 0
    assert store.begin("tags x", first.id, "f", NOW).believed == 0


def test_after_ninety_days_a_state_is_not_believed_and_marks_are_forgotten(opened: Callable[[], Store]) -> None:
    store = opened()
    first = store.begin("leads x", None, "f", NOW)
    mark = row(1, row_hash=None)
    store.put(first, TABLE, [mark, row(2)])
    store.put_in_order(first, TABLE)
    for days, believed, left in ((89, first.number, {b"1", b"2"}), (91, 0, {b"2"})):
        run = store.begin("leads x", first.id, "f", NOW + days * DAY)
        assert run.believed == believed
        store.survey(run, TABLE)
        assert store.find(TABLE, [b"1", b"2"]).keys() == left


def test_a_file_belongs_to_one_run(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "store.db").touch()
    (tmp_path / "folder" / "store.db").chmod(0o644)
    store = Store(tmp_path / "folder" / "store.db")
    try:
        with pytest.raises(ConfigurationError) as refused:
            Store(f"sqlite:///{tmp_path}/folder/store.db")
        assert str(refused.value) == (
            f"changes_url: {tmp_path}/folder/store.db cannot be used (database is locked). If another run uses it, wait"
            " for its end, or name another file."
        )
    finally:
        store.close()
    assert (tmp_path / "folder" / "store.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("opened", ["postgresql"], indirect=True)
def test_in_postgresql_the_newest_run_takes_a_stream_over(opened: Callable[[], Store]) -> None:
    older, newer = opened(), opened()
    run = older.begin("leads x", None, "f", NOW)
    other = older.begin("tags x", None, "f", NOW)
    newer.begin("leads x", None, "f", NOW)
    with pytest.raises(FatalError, match="Another run has begun to read the same stream"):
        older.put(run, TABLE, [row(1)])
    with pytest.raises(FatalError, match="Another run has begun to read the same stream"):
        older.put_in_order(run, TABLE)
    assert newer.find(TABLE, [b"1"]) == {}
    older.put(other, TABLE, [row(1)])


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://user:s3cret@host/db", "begins with sqlite:/// or postgresql://"),
        ("postgresql://user:s3cret@127.0.0.1:1/db", r"PostgreSQL cannot be reached \(Connection refused; check"),
        ("sqlite:////dev/null/store.db", r"cannot be used \(File exists\)"),
    ],
)
def test_a_database_that_cannot_be_used_is_said_in_a_sentence(url: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=f"changes_url.*{sentence}") as raised:
        Store(url)
    assert "s3cret" not in str(raised.value)
