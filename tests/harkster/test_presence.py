"""Which rows are there: however they came and whenever the version of their table was named, they keep their posts."""

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.harkster.running import Message, Target, data, record, schema, state

CASES = Path(__file__).parents[3] / "shared" / "cases"
MIRROR: dict[str, Any] = {"streams": {"hours": {"mode": "mirror"}}, "mirror_max_share": 1.0}


def named(version: int) -> Message:
    return {"type": "ACTIVATE_VERSION", "stream": "hours", "version": version}


def rows(*ids: int, version: int | None = None, name: str = "x") -> list[Message]:
    return [record(id=number, name=name, version=version) for number in ids]


def batch(folder: Path, records: Iterable[dict[str, Any]], *, zipped: bool = True, **more: Any) -> Message:
    """A BATCH message, with its file."""
    lines = b"".join(json.dumps(one).encode() + b"\n" for one in records)
    path = folder / f"batch-{len(list(folder.glob('batch-*')))}.jsonl{'.gz' if zipped else ''}"
    path.write_bytes(gzip.compress(lines) if zipped else lines)
    encoding = {"format": "jsonl", "compression": "gzip" if zipped else None}
    return {"type": "BATCH", "stream": "hours", "encoding": encoding, "manifest": [path.as_uri()], **more}


def ids(target: Target) -> list[str]:
    return [data(post)["id"] for post in target.posts()]


def published(target: Target) -> int:
    return sum(post.publications for post in target.sandbox.harkster.posts(target.channel))


def test_a_version_that_is_named_before_its_rows_deletes_none(target: Target) -> None:
    for version in (100, 200, 300):
        target.ran([schema(), named(version), *rows(1, 2, 3, version=version), state(version)], **MIRROR)
    assert (ids(target), published(target)) == (["1", "2", "3"], 3)
    # And what is gone then is gone.
    target.ran([schema(), named(400), *rows(1, 3, version=400), state(4)], **MIRROR)
    assert ids(target) == ["1", "3"]


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("how", ["versions", "none", "batch", "batch with a version"])
def test_a_row_is_there_however_it_came(target: Target, tmp_path: Path, how: str, *, is_first: bool) -> None:
    def read(version: int, *numbers: int) -> None:
        records = [{"id": number, "name": "x"} for number in numbers]
        sent = {
            "versions": rows(*numbers, version=version),
            "none": rows(*numbers),
            "batch": [batch(tmp_path, records)],
            "batch with a version": [batch(tmp_path, records, version=version)],
        }[how]
        messages = [named(version), *sent] if is_first else [*sent, named(version)]
        target.ran([schema(), *messages, state(version)], **MIRROR)

    read(1, 1, 2, 3)
    read(2, 1, 2, 3)
    assert (ids(target), published(target)) == (["1", "2", "3"], 3)
    read(3, 2, 3)
    assert ids(target) == ["2", "3"]


def test_rows_of_all_kinds_are_one_table(target: Target, tmp_path: Path) -> None:
    for version in (1, 2):
        sent = [batch(tmp_path, [{"id": 1, "name": "x"}]), *rows(2), *rows(3, version=version)]
        target.ran([schema(), *sent, named(version), state(version)], **MIRROR)
    assert (ids(target), published(target)) == (["1", "2", "3"], 3)


def test_a_tap_that_is_cut_off_deletes_nothing(target: Target) -> None:
    target.ran([schema(), *rows(1, 2, 3, version=1), named(1), state(1)], **MIRROR)
    # Cut off within its rows, with a STATE in the middle of them or none at all; and before the first.
    target.ran([schema(), named(2), *rows(1, version=2)], **MIRROR)
    target.ran([schema(), named(2), *rows(1, version=2), state(2), *rows(2, version=2)], **MIRROR)
    target.ran([schema(), state(2), named(2)], **MIRROR)
    target.run([schema(), named(2), *rows(1, version=2), state(2), b"{"], **MIRROR)
    assert ids(target) == ["1", "2", "3"]


def test_a_read_that_goes_on_in_another_run_is_one(target: Target) -> None:
    target.ran([schema(), *rows(1, 2, 3), named(1), state(1)], **MIRROR)
    target.run([schema(), *rows(1), state(2), b"{"], **MIRROR)
    target.ran([schema(), *rows(2), named(2), state(3)], **MIRROR)
    assert ids(target) == ["1", "2"]


def test_what_is_gone_is_known_before_the_state_goes_out_that_covers_it(target: Target) -> None:
    target.ran([schema(), *rows(1, 2, version=1), named(1), state(1)], **MIRROR)
    ran = target.run([schema(), *rows(1, version=2), named(2), state(2), b"{"], **MIRROR)
    assert (ran.states, ids(target)) == ([2], ["1", "2"])
    target.ran([schema()], **MIRROR)
    assert ids(target) == ["1"]


def test_a_version_that_is_named_for_each_part_of_a_stream(target: Target) -> None:
    """As by a stock tap with a parent stream: before the rows of every parent, and STATEs between them."""
    for version in (1, 2):
        parts = [[named(version), *rows(number, version=version), state(number)] for number in (1, 2, 3)]
        target.ran([schema(), *(message for part in parts for message in part)], **MIRROR)
    assert (ids(target), published(target)) == (["1", "2", "3"], 3)


def test_a_row_that_came_without_a_version_is_not_in_the_next_table(target: Target) -> None:
    """As from a tap that sends changed rows only, until its database of what was sent is lost."""
    target.ran([schema(), *rows(1, 2, version=1), named(1), state(1)], **MIRROR)
    target.ran([schema(), *rows(3), state(2)], **MIRROR)
    target.ran([schema(), *rows(1, 2, version=2), named(2), state(3)], **MIRROR)
    assert ids(target) == ["1", "2"]


def test_a_row_that_is_marked_as_deleted_takes_its_post_along(target: Target) -> None:
    target.ran([schema(), *rows(1, 2, 3), state(1)], **MIRROR)
    marked = [record(id=number, name="x", _sdc_deleted_at="2026-01-01T00:00:00Z") for number in (1, 2)]
    target.ran([schema(), *marked, record(id=2, name="x", _sdc_deleted_at=None), state(2)], **MIRROR)
    assert ids(target) == ["2", "3"]
    ran = target.run([schema(), *marked, state(3)], **MIRROR, mirror_max_deletes=0)
    assert "hours: 1 of 2 rows are gone, more than mirror_max_deletes" in str(ran.error)
    assert ids(target) == ["2", "3"]


def test_a_mark_needs_no_more_than_the_key(target: Target) -> None:
    """As taps send it that send changed rows only."""
    told = schema(
        {
            "id": {"type": "integer"},
            "name": {"type": ["string", "null"]},
            "_sdc_deleted_at": {"type": ["string", "null"], "format": "date-time"},
        }
    )
    target.ran([told, *rows(1, 2, 3), state(1)], **MIRROR)
    target.ran([told, record(id=2, _sdc_deleted_at="2026-01-01T00:00:00Z"), state(2)], **MIRROR)
    assert ids(target) == ["1", "3"]
    target.ran([told, *rows(2), state(3)], **MIRROR)
    assert ids(target) == ["1", "3", "2"]


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_a_row_that_is_marked_as_deleted_is_not_posted(target: Target, mode: str) -> None:
    settings: dict[str, Any] = {"streams": {"hours": {"mode": mode}}}
    target.ran([schema(), *rows(1), state(1)], **settings)
    gone = [record(id=number, name="y", _sdc_deleted_at="2026-01-01") for number in (1, 2)]
    target.ran([schema(), *rows(2), *gone, state(2)], **settings)
    assert [data(post) for post in target.posts()] == [{"id": "1", "name": "x"}]


def test_a_row_that_is_marked_as_deleted_leaves_its_digest(target: Target) -> None:
    fields = [{"id": "n", "type": "counter", "data": "{{ rows | length }}"}]
    settings = {"streams": {"hours": {"mode": "upsert", "group_by": ["name"], "fields": fields}}}
    target.ran([schema(), *rows(1, 2, 3), state(1)], **settings)
    target.ran([schema(), record(id=2, _sdc_deleted_at="2026-01-01"), state(2)], **settings)
    assert [data(post)["n"] for post in target.posts()] == ["2"]
    target.ran([schema(), *rows(2), state(3)], **settings)
    assert [data(post)["n"] for post in target.posts()] == ["3"]


# BATCH files


@pytest.mark.parametrize("zipped", [True, False])
def test_a_batch_is_like_its_rows(
    target: Target, tmp_path: Path, caplog: pytest.LogCaptureFixture, *, zipped: bool
) -> None:
    caplog.set_level("INFO")
    records: list[dict[str, Any]] = [{"id": number, "name": f"r{number}"} for number in range(99)]
    records.insert(50, {"id": 99, "name": 7})
    message = batch(tmp_path, records, zipped=zipped)
    maps = {"hours": {"name": "name", "id": "id", "__filter__": "id != 3"}}
    assert target.ran([schema(), message, state(1)], max_reject_share=0.02, max_new_posts=98, stream_maps=maps) == [1]
    assert len(target.posts()) == 98
    assert data(target.posts()[0])["name"] == "r0"
    assert [one["key"] for one in target.rejects()] == ["[99]"]
    assert "hours: 100 rows: 98 new, 1 rejected" in caplog.text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"encoding": {"format": "parquet"}}, "is a BATCH of parquet with compression none; let the tap write jsonl"),
        ({"encoding": {"format": "jsonl", "compression": "zip"}}, "is a BATCH of jsonl with compression zip"),
        ({"manifest": ["file:///nowhere/at/all.jsonl"]}, "names the file file:///nowhere/at/all.jsonl, which cannot"),
        ({"manifest": "x"}, "is a message whose manifest is of the wrong type."),
        ({"encoding": None}, "is a message whose encoding is of the wrong type."),
    ],
)
def test_a_batch_that_cannot_be_read_ends_the_run(
    target: Target, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    message = batch(tmp_path, [{"id": 1, "name": "x"}], zipped=False) | change
    target.ran([schema(), state(-1)])  # of a first run nothing would be sent
    ran = target.run([schema(), record(id=0, name="y"), state(0), message, state(1)])
    assert f"Line 4 of the input {reason}" in str(ran.error)
    assert (ran.states, ids(target)) == ([0], ["0"])


@pytest.mark.parametrize("spoil", ["not gzip", "cut off", "no object"])
def test_a_file_that_is_broken_ends_the_run(target: Target, tmp_path: Path, spoil: str) -> None:
    message = batch(tmp_path, [{"id": number, "name": "secret"} for number in range(2000)])
    path = Path(message["manifest"][0].removeprefix("file://"))
    whole = path.read_bytes()
    path.write_bytes({"not gzip": b"secret", "cut off": whole[:-50], "no object": gzip.compress(b"[1]\n")}[spoil])
    ran = target.run([schema(), message, state(1)], dry_run=True)
    assert f"names the file {path.as_uri()}, wh" in str(ran.error)
    assert "secret" not in str(ran.error)


# The cases of the issue


@pytest.mark.skipif(not CASES.exists(), reason="the cases are not here")
def test_the_cases(target: Target, tmp_path: Path) -> None:
    settings = {"streams": {"s": {"mode": "mirror"}}, "mirror_max_share": 1.0}
    for name in ("mirror-first", "mirror-version-first", "mirror-version-first"):
        target.ran((CASES / f"{name}.jsonl").read_bytes().splitlines(), **settings)
    assert (ids(target), published(target)) == (["0", "1", "2", "3", "4"], 5)
    lines = [json.loads(line) for line in (CASES / "rows-100-one-bad.jsonl").read_bytes().splitlines() if line]
    records = [line["record"] for line in lines if line["type"] == "RECORD"]
    told = {**batch(tmp_path, records), "stream": "s"}
    for number, messages in enumerate((lines, [lines[0], told, lines[-1]])):
        folder = tmp_path / str(number)
        folder.mkdir()
        other = Target.into_new_channel(target.sandbox, folder)
        other.ran(messages, max_reject_share=0.01, max_new_posts=99)
        assert (len(other.posts()), len(other.rejects())) == (99, 1)
