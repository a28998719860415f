"""Stream maps: made when a stream needs them, they are those that the SDK makes of all streams at once."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from singer_http.http.errors import ConfigurationError
from singer_http.tap import ApiTap
from singer_sdk import Tap
from singer_sdk.exceptions import StreamMapConfigError
from tap_hubstaff.tap import TapHubstaff

if TYPE_CHECKING:
    from collections.abc import Callable

    Entry = dict[str, Any]

STREAMS = {"activities", "clients", "members", "time_sessions"}
"""What is selected."""


def tap_of(catalog: Any, **config: Any) -> TapHubstaff:
    given = {"access_token": "hsoat_token", "start_date": "2026-01-01", **config}
    tap = TapHubstaff(config=copy.deepcopy(given), catalog=copy.deepcopy(catalog))
    for name, stream in tap.streams.items():
        if catalog is None:
            stream.selected = name in STREAMS
    return tap


def maps_of(tap: TapHubstaff) -> dict[str, Any]:
    """All that decides what is written of each stream."""
    return {
        name: [
            (type(one), one.stream_alias, one.raw_schema, one.transformed_schema, one.transformed_key_properties)
            for one in stream.stream_maps
        ]
        for name, stream in tap.streams.items()
        if stream.selected
    }


def catalog_of(change: Callable[[Entry], Any]) -> dict[str, Any]:
    """What is discovered, with what is selected, and each entry changed."""
    catalog: dict[str, Any] = json.loads(json.dumps(tap_of(None).catalog_dict))
    for entry in catalog["streams"]:
        (root,) = (item["metadata"] for item in entry["metadata"] if not item["breadcrumb"])
        root["selected"] = entry["stream"] in STREAMS
        change(entry)
    return catalog


def leave_out_properties(entry: Entry) -> None:
    """Leave some out, the keys among them, which are read all the same."""
    for item in entry["metadata"]:
        if item["breadcrumb"] and item["breadcrumb"][-1] in {"id", "user_id", "created_at", "name"}:
            item["metadata"]["selected"] = False


def leave_out_keys(entry: Entry) -> None:
    del entry["key_properties"]
    for item in entry["metadata"]:
        item["metadata"].pop("table-key-properties", None)


def narrow_schema(entry: Entry) -> None:
    for name in ("metadata", "name", "status"):
        entry["schema"]["properties"].pop(name, None)


@pytest.mark.parametrize(
    ("config", "change"),
    [
        ({}, None),
        ({}, dict),
        ({"flattening_enabled": True, "flattening_max_depth": 2}, leave_out_properties),
        ({"stream_maps": {"__else__": None}}, dict),
        ({"stream_maps": {"clients": {"__alias__": "customers", "about": "str(id)"}, "__else__": None}}, narrow_schema),
        (
            {"stream_maps": {"people": {"__source__": "members", "user_id": "user_id"}, "activities": None}},
            dict,
        ),
        ({"stream_maps": {"clien?s": {"__alias__": "__stream_name__ + '_raw'", "emails": None}}}, None),
    ],
    ids=["none", "all", "flat", "nothing", "renamed", "two of one", "by pattern"],
)
def test_they_are_those_of_the_sdk(config: dict[str, Any], change: Callable[[Entry], Any] | None) -> None:
    catalog = None if change is None else catalog_of(change)
    found = maps_of(tap_of(catalog, **config))
    with mock.patch.object(ApiTap, "setup_mapper", Tap.setup_mapper):
        wanted = maps_of(tap_of(catalog, **config))
    assert found.keys() == STREAMS
    assert found == wanted


def test_a_pattern_may_meet_streams_that_are_not_selected() -> None:
    tap = tap_of(catalog_of(dict), stream_maps={"*": {"__alias__": "'raw_' + __stream_name__"}})
    assert {one[1] for (one,) in maps_of(tap).values()} == {f"raw_{name}" for name in STREAMS}


def test_a_map_that_is_wrong_is_told_before_the_run() -> None:
    with pytest.raises(StreamMapConfigError, match="is not permitted"):
        tap_of(None, stream_maps={"members": {"user_id": None}})


def test_a_stream_that_nobody_asks_for_has_none() -> None:
    tap = tap_of(None)
    assert tap.mapper.stream_maps == {}
    assert maps_of(tap).keys() == tap.mapper.stream_maps.keys() == STREAMS


def test_a_catalog_without_keys_leaves_them_to_the_tap() -> None:
    assert maps_of(tap_of(catalog_of(leave_out_keys))) == maps_of(tap_of(catalog_of(dict)))


@pytest.mark.parametrize(
    ("maps", "option"),
    [
        ({"time_sessions": {"__filter__": "superseded_by is None"}}, "__filter__"),
        ({"*": {"__filter__": "project_id == 7"}}, "__filter__"),
        ({"worked": {"__source__": "time_sessions", "__filter__": "tracked > 0"}}, "__filter__"),
        ({"time_sessions": {"superseded_by": None}}, "superseded_by"),
        ({"time_sessions": {"superseded_by": "__NULL__"}}, "superseded_by"),
        ({"time_sessions": {"id": "id", "__else__": None}}, "__else__"),
    ],
)
def test_no_map_leaves_out_that_a_session_counts_no_longer(maps: dict[str, Any], option: str) -> None:
    """Two sessions that were joined would count three times: as they were, and as one."""
    with pytest.raises(
        ConfigurationError, match=rf"^stream_maps: .*: {option} may leave out superseded_by, which says"
    ):
        tap_of(None, stream_maps=maps).sync_all()


@pytest.mark.parametrize(
    "maps",
    [
        {"time_sessions": {"superseded_by": "superseded_by", "id": "id", "__else__": None}},
        {"time_sessions": {"__alias__": "sessions", "user_id": "md5(str(user_id))", "task_id": None}},
        {"time_sessions": None},
        {"activities": {"__filter__": "project_id == 7"}},
        {"notes": {"__filter__": "project_id == 7"}},
    ],
)
def test_other_maps_are_taken(maps: dict[str, Any]) -> None:
    tap = tap_of(None, stream_maps=maps)
    for name, rule in maps.items():
        tap._check_map(name, rule or {})
