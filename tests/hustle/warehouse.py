"""The tables that a faithful loader keeps, and every STATE that it was given, with the tables as of then."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table, with the version that it came with."""

    fields: Fields
    version: int | None


Tables = dict[str, dict[str, Row]]


@dataclass(frozen=True, slots=True)
class Saved:
    """What the next run begins with.

    Attributes:
        state: The STATE, None for none.
        tables: The tables as of then.
        began: When the read of each full table began that may not be complete yet.
    """

    state: dict[str, Any] | None
    tables: Tables
    began: dict[str, float]


@dataclass(slots=True)
class Warehouse:
    """Loads what a tap writes: rows by their key, until one is marked as deleted or is of a version that goes.

    A column that the SCHEMA does not have keeps its values; one that it has and the record lacks becomes null.

    Attributes:
        tables: By stream and key.
        removes: Which versions ACTIVATE_VERSION removes: those of ``older`` runs, as targets of singer-sdk do.
        activated: The streams whose version was activated, with what was there before.
        states: Every STATE, and the tables as of then.
        columns: What the records of each stream have now.
    """

    tables: Tables = field(default_factory=dict)
    removes: Literal["older", "other"] = "other"
    activated: dict[str, dict[str, Row]] = field(default_factory=dict)
    states: list[tuple[dict[str, Any], Tables]] = field(default_factory=list)
    columns: dict[str, list[str]] = field(default_factory=dict)

    def load(self, message: dict[str, Any]) -> None:
        kind, stream = message["type"], message.get("stream", "")
        if kind == "SCHEMA":
            self.columns[stream] = list(message["schema"]["properties"])
            assert set(message["key_properties"]) <= set(self.columns[stream])
        elif kind == "RECORD":
            record = message["record"]
            table = self.tables.setdefault(stream, {})
            if record.get("_sdc_deleted_at"):
                table.pop(record["id"], None)
                return
            kept = table[record["id"]].fields if record["id"] in table else {}
            fields = {**kept, **{name: record.get(name) for name in self.columns[stream]}}
            table[record["id"]] = Row(fields, message.get("version"))
        elif kind == "ACTIVATE_VERSION":
            table = self.tables.get(stream, {})
            self.activated[stream] = table
            self.tables[stream] = {key: row for key, row in table.items() if self._stays(row, message["version"])}
        else:
            assert kind == "STATE"
            self.states.append((message["value"], copied(self.tables)))

    def _stays(self, row: Row, version: int) -> bool:
        return row.version == version or (self.removes == "older" and (row.version or 0) > version)


def copied(tables: Tables) -> Tables:
    """The tables, to be kept as they are now."""
    return {stream: dict(table) for stream, table in tables.items()}
