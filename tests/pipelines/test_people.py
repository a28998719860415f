"""People's data: what is tagged as such in the schemas is hashed or left out by the presets in meltano.yml."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from psycopg import sql
from singer_sdk.exceptions import ConfigValidationError
from tap_hubstaff.tap import TapHubstaff
from tap_hustle.tap import TapHustle

from docs.meltano_plugins import MELTANO_YML

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from singer_http.tap import ApiTap

    from tests.pipelines.conftest import StartPipeline

TAPS: dict[str, tuple[type[ApiTap], dict[str, Any]]] = {
    "tap-hustle": (TapHustle, {"client_id": "a", "client_secret": "b"}),
    "tap-hubstaff": (TapHubstaff, {"access_token": "hsoat_x"}),
}
TAG = "x-pii"
KEY = "a key that nobody guesses"
HASH = re.compile("[0-9a-f]{64}")
LONG = 7
SCHEMA = "tap_hustle__pseudonymous"
STREAMS = {
    "leads": ("phoneNumber", "email", "firstName", "lastName", "customFields", "notes", "followUp"),
    "agents": ("phoneNumber", "name", "fullName"),
}


@cache
def preset(tap: str) -> dict[str, Any]:
    extractors = yaml.safe_load(MELTANO_YML.read_text())["plugins"]["extractors"]
    (found,) = (entry for entry in extractors if entry["name"] == f"{tap}--pseudonymous")
    config: dict[str, Any] = found["config"]
    return {**config, "stream_map_config": {"pseudonym_key": KEY}}


def tagged(schema: dict[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every property that is tagged, at any depth, with its path."""
    for name, inner in schema.get("properties", {}).items():
        if inner.get(TAG):
            yield (*at, name)
        yield from tagged(inner, (*at, name))
        yield from tagged(inner.get("items", {}), (*at, name))


@pytest.mark.parametrize("name", TAPS)
def test_the_preset_covers_whatever_is_tagged(name: str) -> None:
    kind, credentials = TAPS[name]
    catalog = json.loads(kind(config={**credentials, **preset(name)}).catalog_json_text)
    found = {(entry["stream"], path[0]) for entry in catalog["streams"] for path in tagged(entry["schema"])}
    assert len(found) >= len(preset(name)["stream_maps"])
    for stream, root in found:
        rule = preset(name)["stream_maps"][stream][root]
        hashed = f"sha256(config['pseudonym_key'] + record['{root}']) if record.get('{root}') else None"
        assert rule in {"__NULL__", hashed}, (stream, root)


@pytest.mark.parametrize("key", [None, "", "  \n"])
def test_a_key_that_hides_nothing_is_refused(key: str | None) -> None:
    kind, credentials = TAPS["tap-hustle"]
    with pytest.raises(ConfigValidationError) as refused:
        kind(config={**credentials, **preset("tap-hustle"), "stream_map_config": {"pseudonym_key": key}})
    assert "pseudonym_key is empty" in str(refused.value.errors)


@pytest.mark.parametrize("name", TAPS)
def test_what_sounds_like_a_person_is_tagged(name: str) -> None:
    kind, credentials = TAPS[name]
    words = {"phone", "phonenumber", "email", "emails", "first_name", "last_name", "firstname", "lastname", "fullname"}
    words |= {"address", "ip_address", "birthday", "latitude", "longitude", "tax_info", "postalcode", "user_name"}
    places = {("job_sites", "address"), ("job_sites", "latitude"), ("job_sites", "longitude")}
    tap = kind(config={**credentials, "unknown_fields": "keep", **({"include_names": True} if "hub" in name else {})})

    def untagged(schema: dict[str, Any]) -> Iterator[str]:
        for found, inner in schema.get("properties", {}).items():
            if inner.get(TAG):
                continue
            if found.lower() in {*words, "_unknown_fields"}:
                yield found
            yield from untagged(inner)
            yield from untagged(inner.get("items", {}))

    assert {(stream.name, each) for stream in tap.streams.values() for each in untagged(stream.schema)} <= places


def test_no_clear_value_reaches_the_warehouse_the_log_or_the_state(
    start_pipeline: StartPipeline, programs: Path, tmp_path: Path
) -> None:
    pipeline = start_pipeline(leads=60)
    clear = records(programs, dict(pipeline.sandbox.hustle), tmp_path)
    load = ("--log-level=debug", "run", "tap-hustle--pseudonymous", "target-postgres")
    refused = pipeline.meltano.run(*load)
    assert refused.exit_code
    assert "stream_map_config is not valid: pseudonym_key is empty" in refused.log.read_text()
    pipeline.meltano.run(*load, variables={"PSEUDONYM_KEY": KEY}).check()

    kept = {path: path.read_bytes() for path in pipeline.meltano.directory.rglob("*") if path.is_file()}
    loaded: dict[str, list[dict[str, Any]]] = {}
    with pipeline.warehouse.connect() as connection:
        for table in STREAMS:
            query = sql.SQL("SELECT to_jsonb(found) FROM {} AS found").format(sql.Identifier(SCHEMA, table))
            loaded[table] = [row[0] for row in connection.execute(query)]
            assert {row["id"] for row in loaded[table]} == {record["id"] for record in clear[table]}
            kept[Path(table)] = json.dumps(loaded[table], ensure_ascii=False).encode()
    values = {value for table, names in STREAMS.items() for one in clear[table] for value in texts(one, names)}
    untagged = json.dumps(
        [
            {name: value for name, value in record.items() if name not in STREAMS.get(stream, ())}
            for stream, found in clear.items()
            for record in found
        ],
        ensure_ascii=False,
    )
    values = {
        value for value in values if json.dumps(value, ensure_ascii=False) not in untagged
    }  # a tag may be called like a note
    assert len(values) > 50
    assert [(path.name, value) for path, found in kept.items() for value in values if value.encode() in found] == []
    hashed = {hashlib.sha256((KEY + lead["phoneNumber"]).encode()).hexdigest() for lead in clear["leads"]}
    assert {lead["phoneNumber"] for lead in loaded["leads"]} == hashed
    for table, name in [("leads", "firstName"), ("leads", "email"), ("agents", "name")]:
        assert all(row[name] is None or HASH.fullmatch(row[name]) for row in loaded[table])


def records(programs: Path, config: dict[str, Any], directory: Path) -> dict[str, list[dict[str, Any]]]:
    """What the tap sends without the preset, by stream."""
    (directory / "config.json").write_text(json.dumps(config))
    command: list[str | Path] = [programs / "tap-hustle", "--config", directory / "config.json"]
    lines = subprocess.run(command, check=True, capture_output=True).stdout.splitlines()
    found: dict[str, list[dict[str, Any]]] = {}
    for message in map(json.loads, lines):
        if message["type"] == "RECORD":
            found.setdefault(message["stream"], []).append(message["record"])
    return found


def texts(record: Any, names: Sequence[str]) -> Iterator[str]:
    """Every text in some properties that is long enough to be found nowhere by chance."""
    for value in (record.get(name) for name in names) if isinstance(record, dict) else ():
        for text in value.values() if isinstance(value, dict) else [value]:
            if isinstance(text, str) and len(text) >= LONG:
                yield text
