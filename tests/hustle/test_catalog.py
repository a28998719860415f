"""Catalogs, stream maps, flattening, batches: what the SDK gives to every tap works with this one."""

from __future__ import annotations

import gzip
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from api_sandbox import Fault

from tests.hustle.running import discovered

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.hustle.conftest import Run, Started

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]
    Discover = Callable[..., dict[str, Any]]
    Complete = Callable[..., None]


@pytest.fixture(scope="module")
def discover() -> Discover:
    """A catalog with only some streams selected, and its entries changed by a function."""

    def chosen(*streams: str, change: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        catalog = discovered()
        for entry in catalog["streams"]:
            root_metadata(entry)["selected"] = not streams or entry["stream"] in streams
            if change is not None and entry["stream"] in streams:
                change(entry)
        return catalog

    return chosen


def root_metadata(entry: dict[str, Any]) -> dict[str, Any]:
    return property_metadata(entry)


def property_metadata(entry: dict[str, Any], *path: str) -> dict[str, Any]:
    breadcrumb = [part for name in path for part in ("properties", name)]
    (found,) = [item["metadata"] for item in entry["metadata"] if item["breadcrumb"] == breadcrumb]
    metadata: dict[str, Any] = found
    return metadata


def test_only_selected_streams_are_read(
    tap: Tap, serve: Serve, settings: Settings, discover: Discover, assert_complete: Complete
) -> None:
    sandbox = serve()
    run = tap(config=settings(sandbox), catalog=discover("tags", "agents"))
    assert run.code == 0
    assert_complete(run, sandbox, "tags", "agents")
    assert {message.get("stream") for message in run.messages} == {"tags", "agents", None}
    assert not {"/hustle/v3/leads", "/hustle/v3/organizations"} & sandbox.report().outcomes.keys()


def test_nothing_selected_reads_nothing(tap: Tap, standing: RunningSandbox, settings: Settings) -> None:
    catalog = discovered()
    for entry in catalog["streams"]:
        root_metadata(entry)["selected"] = False
    run = tap(config=settings(standing), catalog=catalog)
    assert run.of_type("RECORD") == run.of_type("SCHEMA") == []
    assert run.said("WARNING") == ["No stream is selected: nothing is read."]
    assert run.code == 0


def unknown(entry: dict[str, Any]) -> None:
    entry["stream"] = entry["tap_stream_id"] = "labels"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (unknown, "selects labels, which are no streams"),
        (lambda entry: entry.update(metadata=None), "streams[6].metadata"),
        (lambda entry: entry.update(metadata=["x"]), "streams[6].metadata[0]"),
        (
            lambda entry: entry.update(metadata=[{"breadcrumb": [], "metadata": None}]),
            "streams[6].metadata[0].metadata",
        ),
        (lambda entry: entry["metadata"][-1]["metadata"].update(selected="false"), "metadata.selected"),
        (lambda entry: entry["metadata"][-1]["metadata"].update({"replication-method": 5}), "replication-method"),
        (lambda entry: entry.update(key_properties="id"), "key_properties"),
        (lambda entry: entry.update(key_properties=[]), "has no property as the key of stream tags; it is id"),
        (lambda entry: entry.update(key_properties=["id", "name"]), "has id, name as the key of stream tags"),
        (lambda entry: root_metadata(entry).update({"table-key-properties": ["name"]}), "has name as the key"),
        (lambda entry: entry.update(replication_method=["FULL_TABLE"]), "replication_method"),
        (lambda entry: entry.pop("schema"), "`schema`"),
        (lambda entry: entry["schema"].pop("properties"), "`properties`"),
        (lambda entry: entry["schema"]["properties"].update(name=None), "schema.properties"),
        (lambda entry: entry.pop("tap_stream_id"), "tap_stream_id"),
        (lambda entry: entry.update(tap_stream_id="leads", stream="leads"), "lists leads more than once"),
    ],
)
def test_a_catalog_that_is_none_of_ours_is_refused(
    *,
    tap: Tap,
    serve: Serve,
    settings: Settings,
    discover: Discover,
    change: Callable[[dict[str, Any]], Any],
    words: str,
) -> None:
    sandbox = serve()
    run = tap(config=settings(sandbox), catalog=discover("tags", change=change))
    assert (run.code, run.stdout) == (1, b"")
    (said,) = run.said("ERROR")
    assert words in said
    assert sandbox.report().requests == 0


@pytest.mark.parametrize("catalog", [{}, {"streams": None}, {"streams": {}}, {"bookmarks": {}}])
def test_what_is_no_catalog_at_all_is_refused(
    tap: Tap, standing: RunningSandbox, settings: Settings, catalog: dict[str, Any]
) -> None:
    run = tap(config=settings(standing), catalog=catalog)
    assert (run.code, run.stdout) == (1, b"")
    (said,) = run.said("ERROR")
    assert "streams" in said


def test_deselected_properties_are_left_out_at_any_depth(
    tap: Tap, standing: RunningSandbox, settings: Settings, discover: Discover
) -> None:
    def change(entry: dict[str, Any]) -> None:
        property_metadata(entry, "name")["selected"] = False
        property_metadata(entry, "location", "coordinates", "lat")["selected"] = False

    run = tap(config=settings(standing), catalog=discover("groups", change=change))
    assert run.code == 0
    assert run.said("WARNING") == []
    (schema,) = run.of_type("SCHEMA")
    assert "name" not in schema["schema"]["properties"]
    assert "lat" not in schema["schema"]["properties"]["location"]["properties"]["coordinates"]["properties"]
    expected = standing.records("groups")
    for record in expected:
        del record["name"]
        if "location" in record:
            del record["location"]["coordinates"]["lat"]
    by_id = {record["id"]: record for record in expected}
    assert {record["id"]: record for record in run.records("groups")} == by_id
    assert any("location" in record for record in expected)


def test_the_key_and_the_partition_cannot_be_deselected_away(
    tap: Tap, standing: RunningSandbox, settings: Settings, discover: Discover
) -> None:
    def change(entry: dict[str, Any]) -> None:
        for name in entry["schema"]["properties"]:
            property_metadata(entry, name)["selected"] = False

    run = tap(config=settings(standing), catalog=discover("leads", change=change))
    assert run.code == 0
    assert sorted(run.ids("leads")) == sorted(standing.truth.ids["leads"])
    assert all(record.keys() == {"id"} for record in run.records("leads"))


def test_stream_maps_rename_filter_compute_and_drop(
    tap: Tap, standing: RunningSandbox, settings: Settings, assert_complete: Complete
) -> None:
    maps = {
        "tags": {"__alias__": "labels", "title": "name", "name": None},
        "custom_fields": {"__filter__": "agentVisible"},
        "agents": "__NULL__",
        "leads": {"person": "phoneNumber", "__else__": None, "id": "id"},
    }
    run = tap(config=settings(standing, stream_maps=maps))
    assert run.code == 0
    assert run.records("tags") == run.records("agents") == []
    assert sorted(run.ids("labels")) == sorted(standing.truth.ids["tags"])
    assert {record["title"] for record in run.records("labels")} == {tag["name"] for tag in standing.records("tags")}
    visible = [field["id"] for field in standing.records("custom_fields") if field["agentVisible"]]
    assert sorted(run.ids("custom_fields")) == sorted(visible)
    assert 0 < len(visible) < standing.truth.count("custom_fields")
    assert sorted(run.ids("leads")) == sorted(standing.truth.ids["leads"])
    assert all(record.keys() <= {"id", "person"} for record in run.records("leads"))
    assert_complete(run, standing, "groups", "organizations", "integrations", "webhook_registrations")


def test_one_stream_becomes_several(tap: Tap, standing: RunningSandbox, settings: Settings) -> None:
    maps = {"tags": {}, "copy": {"__source__": "tags", "id": "id", "__else__": None}}
    run = tap(config=settings(standing, stream_maps=maps))
    assert run.code == 0
    assert sorted(run.ids("tags")) == sorted(run.ids("copy")) == sorted(standing.truth.ids["tags"])


def test_flattening(tap: Tap, standing: RunningSandbox, settings: Settings) -> None:
    run = tap(config=settings(standing, flattening_enabled=True, flattening_max_depth=3))
    assert run.code == 0
    for group, record in zip(
        sorted(standing.records("groups"), key=lambda one: str(one["id"])),
        sorted(run.records("groups"), key=lambda one: str(one["id"])),
        strict=True,
    ):
        assert "location" not in record
        assert record.get("location__label") == group.get("location", {}).get("label")
        assert record.get("location__coordinates__lat") == group.get("location", {}).get("coordinates", {}).get("lat")
    assert sorted(run.ids("leads")) == sorted(standing.truth.ids["leads"])


@pytest.mark.parametrize("pages", [1, 7])
def test_the_order_and_the_number_of_messages_do_not_depend_on_maps(
    tap: Tap, standing: RunningSandbox, settings: Settings, pages: int
) -> None:
    plain = tap(config=settings(standing, page_size=pages))
    mapped = tap(config=settings(standing, page_size=pages, stream_maps={"tags": {"twice": "name + name"}}))
    for stream in standing.truth.ids:
        assert plain.ids(stream) == mapped.ids(stream)


# Batches


def batch_settings(folder: Path, size: int = 10, compression: str = "gzip") -> dict[str, Any]:
    return {
        "batch_config": {
            "encoding": {"format": "jsonl", "compression": compression},
            "storage": {"root": f"file://{folder}", "prefix": "some-"},
            "batch_size": size,
        }
    }


def batched(run: Run, upto: int | None = None) -> dict[str, list[dict[str, Any]]]:
    """The records in the files that BATCH messages name, by stream, of the first messages or of all."""
    found: dict[str, list[dict[str, Any]]] = {}
    for message in run.messages[:upto]:
        for file in message.get("manifest", ()) if message["type"] == "BATCH" else ():
            content = Path(urlsplit(file).path).read_bytes()
            lines = (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).splitlines()
            found.setdefault(message["stream"], []).extend(json.loads(line) for line in lines)
    return found


@pytest.mark.parametrize("size", [1, 10, 10_000])
def test_each_batch_holds_records_of_one_stream(
    tap: Tap, standing: RunningSandbox, settings: Settings, tmp_path: Path, size: int
) -> None:
    maps = {
        "tags": {"name": "name"},
        "tag_names": {"__source__": "tags", "id": "id", "called": "name", "__else__": None},
        "some_tags": {"__source__": "tags", "__filter__": "name < 'm'"},
    }
    plain = tap(config=settings(standing, stream_maps=maps))
    run = tap(config=settings(standing, stream_maps=maps, **batch_settings(tmp_path, size)))
    assert run.code == 0
    records = batched(run)
    for stream in maps:
        assert records.get(stream, []) == plain.records(stream), stream


def test_a_batch_that_cannot_be_written_is_told_in_a_sentence(
    tap: Tap, standing: RunningSandbox, settings: Settings
) -> None:
    run = tap(config=settings(standing, **batch_settings(Path("/dev/full"))))
    assert run.code == 1
    assert "Traceback" not in run.stderr
    (said,) = run.said("ERROR")
    assert said.startswith("A BATCH file cannot be written: ")


@pytest.mark.parametrize("size", [1, 10, 10_000])
def test_batches_hold_everything_once(
    *,
    tap: Tap,
    standing: RunningSandbox,
    settings: Settings,
    tmp_path: Path,
    assert_clean: Callable[[Any], None],
    size: int,
) -> None:
    folder = tmp_path / "batches"
    folder.mkdir()
    run = tap(config=settings(standing, **batch_settings(folder, size)))
    assert run.code == 0
    assert run.of_type("RECORD") == []
    records = batched(run)
    for stream, ids in standing.truth.ids.items():
        assert sorted(record["id"] for record in records[stream]) == sorted(ids)
    assert_clean(run.states[-1])
    named = [urlsplit(file).path for message in run.of_type("BATCH") for file in message["manifest"]]
    assert sorted(named) == sorted(str(path) for path in folder.iterdir())


def test_state_is_never_ahead_of_the_batches(tap: Tap, serve: Serve, settings: Settings, tmp_path: Path) -> None:
    sandbox = serve(leads=60)
    config = settings(sandbox, page_size=3, **batch_settings(tmp_path, 10))
    whole = tap(config=config)
    states = [place for place, message in enumerate(whole.messages) if message["type"] == "STATE"]
    assert len(states) > 2
    for place in {*states[:: max(1, len(states) // 5)], states[-1]}:
        before = batched(whole, place)
        resumed = tap(config=settings(sandbox, page_size=3), state=whole.messages[place]["value"])
        assert resumed.code == 0
        for stream, ids in sandbox.truth.ids.items():
            assert {record["id"] for record in before.get(stream, [])} | set(resumed.ids(stream)) == set(ids)


def test_a_batch_that_is_cut_off_loses_nothing(
    start_tap: Callable[..., Started], tap: Tap, serve: Serve, settings: Settings, tmp_path: Path
) -> None:
    sandbox = serve(Fault(kind="hold", path="/leads", page=12), leads=150)
    config = settings(sandbox, page_size=3, max_parallel_requests=1, **batch_settings(tmp_path, 10))
    started = start_tap(config=config)
    sandbox.faults.wait_until_held()
    started.kill(signal.SIGTERM)
    cut = started.wait()
    sandbox.faults.clear()
    assert cut.code == 128 + signal.SIGTERM
    records = batched(cut)
    assert len(records.get("leads", [])) < 150
    resumed = tap(config=settings(sandbox, page_size=3), state=cut.states[-1] if cut.states else {})
    assert resumed.code == 0
    for stream, ids in sandbox.truth.ids.items():
        assert {record["id"] for record in records.get(stream, [])} | set(resumed.ids(stream)) == set(ids)


# Incremental: new ones only


def by_metadata(entry: dict[str, Any]) -> None:
    root_metadata(entry).update({"replication-method": "INCREMENTAL", "replication-key": "createdAt"})


def by_metadata_alone(entry: dict[str, Any]) -> None:
    root_metadata(entry)["replication-method"] = "INCREMENTAL"


def by_entry(entry: dict[str, Any]) -> None:
    entry["replication_method"] = "INCREMENTAL"
    entry["replication_key"] = "createdAt"


@pytest.mark.parametrize("choose", [by_metadata, by_metadata_alone, by_entry])
@pytest.mark.parametrize("cursors", ["sequential", "opaque"])
def test_incremental_goes_on_with_what_is_new(
    *,
    tap: Tap,
    serve: Serve,
    settings: Settings,
    discover: Discover,
    assert_complete: Complete,
    assert_clean: Callable[[Any], None],
    choose: Callable[[dict[str, Any]], None],
    cursors: str,
) -> None:
    sandbox = serve(cursors=cursors, leads=60)
    catalog = discover("leads", change=choose)
    first = tap(config=settings(sandbox), catalog=catalog)
    assert first.code == 0
    assert_complete(first, sandbox, "leads")
    assert_clean(first.states[-1])
    owned = {record["id"]: record for record in sandbox.records("leads")}
    for bookmark in first.states[-1]["bookmarks"]["leads"]["partitions"]:
        of_partition = sandbox.truth.by_organization["leads"][bookmark["context"]["organizationId"]]
        assert bookmark["replication_key"] == "createdAt"
        newest = max(owned[own_id]["createdAt"] for own_id in of_partition)
        assert bookmark["replication_key_value"] <= newest

    new = [*sandbox.add_leads(0, 9), *sandbox.add_leads(2, 1)]
    second = tap(config=settings(sandbox), catalog=catalog, state=first.states[-1])
    assert second.code == 0
    assert set(new) <= set(second.ids("leads"))
    assert len(second.ids("leads")) == len(set(second.ids("leads"))) <= len(new) + 3 * 7
    third = tap(config=settings(sandbox), catalog=catalog, state=second.states[-1])
    assert third.code == 0
    assert len(third.ids("leads")) <= 3 * 7


def test_incremental_after_a_full_table_and_back(
    tap: Tap, serve: Serve, settings: Settings, discover: Discover, assert_complete: Complete
) -> None:
    sandbox = serve(leads=60)
    state: dict[str, Any] = {}
    for change in (None, by_metadata, None):
        run = tap(config=settings(sandbox), catalog=discover("leads", change=change), state=state)
        assert run.code == 0
        assert_complete(run, sandbox, "leads")
        state = run.states[-1]


def test_another_page_size_makes_an_incremental_read_begin_anew(
    tap: Tap, serve: Serve, settings: Settings, discover: Discover, assert_complete: Complete
) -> None:
    sandbox = serve(leads=60)
    catalog = discover("leads", change=by_metadata)
    first = tap(config=settings(sandbox), catalog=catalog)
    second = tap(config=settings(sandbox, page_size=5), catalog=catalog, state=first.states[-1])
    assert second.code == 0
    assert_complete(second, sandbox, "leads")


@pytest.mark.parametrize(("method", "key"), [("LOG_BASED", None), ("INCREMENTAL", "name"), ("nonsense", None)])
@pytest.mark.parametrize("where", ["entry", "metadata"])
def test_a_catalog_that_asks_for_what_there_is_not_is_refused(
    *,
    tap: Tap,
    standing: RunningSandbox,
    settings: Settings,
    discover: Discover,
    method: str,
    key: str | None,
    where: str,
) -> None:
    def change(entry: dict[str, Any]) -> None:
        into, mark = (entry, "_") if where == "entry" else (root_metadata(entry), "-")
        into[f"replication{mark}method"] = method
        if key:
            into[f"replication{mark}key"] = key

    run = tap(config=settings(standing), catalog=discover("leads", change=change))
    assert run.code > 0
    assert run.of_type("RECORD") == []
    assert "Traceback" not in run.stderr
    (sentence,) = run.said("ERROR")
    assert "leads" in sentence
    assert (key or method) in sentence


# ACTIVATE_VERSION


def test_versions_are_activated_when_a_table_is_complete(
    tap: Tap, standing: RunningSandbox, settings: Settings
) -> None:
    run = tap(config=settings(standing, emit_activate_version_messages=True))
    assert run.code == 0
    for stream in standing.truth.ids:
        (activation,) = run.of_type("ACTIVATE_VERSION", stream)
        records = run.of_type("RECORD", stream)
        assert {message["version"] for message in records} == {activation["version"]}
        assert run.messages.index(activation) > run.messages.index(records[-1])


def test_no_versions_unless_asked_for(sound: Run) -> None:
    assert sound.of_type("ACTIVATE_VERSION") == []
    assert all("version" not in message for message in sound.of_type("RECORD"))


def test_a_table_that_is_not_complete_is_not_activated(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(Fault(kind="status", status=400, path="/leads", organization=1, page=2), leads=60)
    config = settings(sandbox, emit_activate_version_messages=True)
    failed = tap(config=config)
    assert failed.code == 1
    assert failed.of_type("ACTIVATE_VERSION", "leads") == []
    assert len(failed.of_type("ACTIVATE_VERSION", "groups")) == 1
    begun_with = {message["version"] for message in failed.of_type("RECORD", "leads")}
    sandbox.faults.clear()
    mended = tap(config=config, state=failed.states[-1])
    assert mended.code == 0
    assert {message["version"] for message in mended.of_type("RECORD", "leads")} == begun_with
    assert {message["version"] for message in mended.of_type("ACTIVATE_VERSION", "leads")} == begun_with
    of_groups = [{message["version"] for message in run.of_type("RECORD", "groups")} for run in (failed, mended)]
    assert of_groups[0] != of_groups[1]
