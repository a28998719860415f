"""What goes out fits the schema that went out, whatever the API sends: loaders need not check it again."""

from __future__ import annotations

import copy
import datetime as dt
import json
import random
import re
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import jsonschema
import pytest
from singer_http.conform import UNKNOWN_FIELDS
from singer_sdk.sinks.core import JSONSchemaValidator
from tap_hubstaff.tap import TapHubstaff
from tap_hustle.tap import TapHustle
from target_postgres.sinks import PostgresSink  # type: ignore[import-untyped]
from target_postgres.target import TargetPostgres  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from singer_http.stream import ApiStream
    from singer_http.tap import ApiTap

TAPS: dict[str, tuple[type[ApiTap], dict[str, Any]]] = {
    "tap-hustle": (TapHustle, {"client_id": "a", "client_secret": "b"}),
    "tap-hubstaff": (TapHubstaff, {"access_token": "hsoat_x", "include_names": True}),
}
RECORDS = 60  # of each stream
FITTING = 0.8  # of the values
ODD: list[Any] = [
    *("", " ", "x", "0", "7", "-7.50", "true", "null", "[]", "é\U0001f600", "9" * 40),
    *("0000-00-00", "2024-02-30", "2024-02-29", "2024-02-29T00:00:00Z", "2024-02-29T10:00:00.5+02:00", "20240229"),
    *("2024-02-29T10:00:00", "2024-02-29 10:00:00 UTC", "2024-02-29t10:00:00z", "2024-02-29T24:00:00Z", "29/02/2024"),
    *(0, 1, -7, 1709200800, 2**31, 2**63, -(2**70), 0.0, 1.5, 1e300, True, False, None),
    *([], [None], [1, "x", None], [[1]], [{}], {}, {"id": 1}, {"new": {"new": [1]}}),
]
RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})")
TEXTS = {"date": ("2024-02-29", "1999-12-31"), "date-time": ("2024-02-29T10:00:00Z", "1999-12-31T23:59:59.123456Z")}
PLAIN: dict[str, tuple[Any, ...]] = {
    "string": ("text", " "),
    "integer": (0, 7, -7),
    "number": (0, 1.5),
    "boolean": (True, False),
    "null": (None,),
}


@cache
def tap(name: str, unknown_fields: str) -> ApiTap:
    kind, config = TAPS[name]
    return kind(config={**config, "unknown_fields": unknown_fields})


def streams() -> list[tuple[str, str]]:
    return [(name, stream) for name in TAPS for stream in tap(name, "drop").streams]


def is_time(text: object) -> bool:
    return not isinstance(text, str) or bool(RFC3339.fullmatch(text) and dt.datetime.fromisoformat(text[:19]))


FORMATS = jsonschema.FormatChecker(formats=["date"])
FORMATS.checks("date-time", raises=ValueError)(is_time)


class Records:
    """Makes records that mostly fit a schema, but with whatever an API may put into them."""

    def __init__(self, seed: str) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - the same in every run

    def of(self, stream: ApiStream) -> dict[str, Any]:
        """A record that has its keys."""
        record: dict[str, Any] = self.value({**stream.schema, "type": "object"}, fitting=1)
        keys = {key: self.value(stream.schema["properties"][key], fitting=1) for key in stream.primary_keys}
        return {**record, **keys}

    def value(self, schema: dict[str, Any], fitting: float = FITTING) -> Any:
        """A value of a property."""
        if self._chance.random() > fitting:
            return copy.deepcopy(self._chance.choice(ODD))
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        kind = self._chance.choice(kinds)
        if kind == "object":
            known = {name: self.value(found) for name, found in schema.get("properties", {}).items() if self._comes()}
            return {**known, **({} if self._comes() else {"new_field": self._chance.choice(ODD)})}
        if kind == "array":
            items = schema.get("items", {"type": "string"})
            return [self.value(items) for _ in range(self._chance.randrange(3))]
        return self._chance.choice(
            TEXTS.get(schema.get("format", ""), PLAIN[kind]) if kind == "string" else PLAIN[kind]
        )

    def _comes(self) -> bool:
        return self._chance.random() < FITTING


@pytest.fixture(scope="module")
def target() -> TargetPostgres:
    """The loader, which is not connected; with its validation on."""
    return TargetPostgres(
        config={"sqlalchemy_url": "postgresql+psycopg://nobody@localhost/none", "validate_records": True}
    )


@pytest.mark.parametrize("unknown_fields", ["drop", "keep"])
@pytest.mark.parametrize(("name", "stream_name"), streams())
def test_whatever_comes_the_loader_finds_what_the_schema_says(
    target: TargetPostgres, name: str, stream_name: str, unknown_fields: str
) -> None:
    stream = cast("ApiStream", tap(name, unknown_fields).streams[stream_name])
    records = Records(stream_name)
    came = [records.of(stream) for _ in range(RECORDS)]
    sent = stream._conform(copy.deepcopy(came))
    strict = JSONSchemaValidator(stream.schema, validate_formats=True, format_checker=FORMATS)
    sink = PostgresSink(target, stream_name, copy.deepcopy(stream.schema), stream.primary_keys)
    left_out = {name for name in stream.schema["properties"] if not stream.mask["properties", name]}
    for before, after in zip(came, sent, strict=True):
        strict.validate(after)
        assert all(after[key] == before[key] for key in stream.primary_keys)
        lost = {name for name, value in after.items() if value is None and before[name] is not None}
        kept = json.loads(json.dumps(after.get(UNKNOWN_FIELDS, {})))
        assert not stream._conform.keeps or lost | (before.keys() - after.keys() - left_out) <= kept.keys()
        assert all(kept[name] == before[name] for name in lost & kept.keys())
        sink._validate_and_parse(after)  # of the loader, which ends with what it cannot read
    assert stream._conform.lost, "nothing odd came"
