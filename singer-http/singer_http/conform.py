"""Conforms records to their schema: every value that goes out fits the schema that went out.

What is deselected or unknown is taken out. A value that does not fit is converted, if nothing is lost by it; any other
becomes null, and is counted. Nearly all pages fit as they are: only the records of others are looked at closely.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from singer_http.conversions import KINDS, converted, kinds_of
from singer_http.http.errors import ApiError, MalformedAnswerError
from singer_http.schema_check import SchemaCheck

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from singer_sdk.singerlib import SelectionMask

Schema = dict[str, Any]
Record = dict[str, Any]
Path = tuple[str | int, ...]  # names, and the places of items in arrays

UNKNOWN_FIELDS = "_unknown_fields"
"""The column of what has no other place: a schema that has it wants that to be kept."""
MOST_NAMES, LONGEST_NAME = 50, 100
"""How many names a warning has, and how many characters of each."""
OTHERS = "others"
"""Stands for the names that a warning leaves out."""


class Conformer:
    """Prepares the records of one stream for their messages.

    Args:
        schema: The stream's schema.
        mask: Which properties are selected.
        is_strict: Whether to fail at what the schema does not know, if it has no column for that.

    Attributes:
        unknown: How often each property came that the schema does not know.
        lost: How often each property had a value that does not fit, and is null now.
        replaced: How many characters could not be read.
        keeps: Whether both are kept in a column; never what a deselected property may be in.
    """

    def __init__(self, schema: Schema, mask: SelectionMask, *, is_strict: bool = False) -> None:
        self.unknown: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.replaced = 0
        has_column = UNKNOWN_FIELDS in schema["properties"]
        self.keeps = has_column and mask["properties", UNKNOWN_FIELDS]
        self._fails = is_strict and not has_column
        self._kept: Record = {}
        self._schema = schema
        self._fits = SchemaCheck(schema)
        self._deselected = [at[1::2] for at, is_selected in mask.items() if at and not is_selected]
        self._private = {path[:depth] for path in self._deselected for depth in range(1, len(path))}
        self._strangers = [UNKNOWN_FIELDS] if has_column else []  # unknown names that came before

    def __call__(self, records: list[Record]) -> list[Record]:
        """Take out of records what is deselected or unknown and convert what does not fit, in place.

        Raises:
            ApiError: If something is unknown, and that is to fail.
            MalformedAnswerError: If a value does not fit that must not be null.
        """
        self._kept = {}
        for path in self._deselected:
            for record in records:
                _remove(record, path)
        for name in self._strangers:
            for record in records:
                if name in record:
                    self._note(self.unknown, (name,), record.pop(name))
                    self._keep(record)
        if not self._fits(records):
            for record in records:
                if not self._fits([record]):
                    self._mend(record, self._schema, ())
                    self._keep(record)
        return records

    def _mend(self, record: Record, schema: Schema, path: Path) -> None:
        properties = schema["properties"]
        strange = [] if schema.get("additionalProperties") else [name for name in record if name not in properties]
        if strange and self._fails:
            names = ", ".join(sorted(printable(_dotted((*path, name))) for name in strange[:MOST_NAMES]))
            raise ApiError(
                f"The schema does not know these fields of the API: {names}. Let unknown_fields keep or drop them, or"
                " use a newer version of the tap."
            )
        for name in strange:
            self._note(self.unknown, (*path, name), record.pop(name))
            if not path and len(self._strangers) < MOST_NAMES:
                self._strangers.append(name)
        for name in record:
            if name in properties:
                record[name] = self._mended(record[name], properties[name], (*path, name))

    def _mended(self, value: Any, schema: Schema, path: Path) -> Any:
        kinds = kinds_of(schema)
        if isinstance(value, dict) and "object" in kinds:
            if "properties" in schema:
                self._mend(value, schema, path)
            return value
        if "array" in kinds and (items := schema.get("items")):
            # What is documented as an array may come as its only item.
            is_item = value not in (None, "") and any(type(value) in KINDS[kind] for kind in kinds_of(items))
            listed = value if isinstance(value, list) else [value] if is_item else []
            if listed or isinstance(value, list):
                return [self._mended(item, items, (*path, place)) for place, item in enumerate(listed)]
        try:
            return converted(value, schema)
        except ValueError:
            if "null" not in kinds:
                text = f"A record came with a value of {_dotted(path)} that the schema does not allow: report it."
                raise MalformedAnswerError(text) from None
            self._note(self.lost, path, value)
            return None

    def _note(self, counter: Counter[str], path: Path, value: Any) -> None:
        """Count what has no place in its record, and remember it if it is to be kept."""
        name = _dotted(path)
        counter[name if name in counter or len(counter) < MOST_NAMES else OTHERS] += 1
        if self.keeps and tuple(step for step in path if isinstance(step, str)) not in self._private:
            self._kept[".".join(map(str, path))] = value

    def _keep(self, record: Record) -> None:
        if self._kept:
            record.setdefault(UNKNOWN_FIELDS, {}).update(self._kept)
            self._kept = {}

    def remarks(self) -> Iterator[str]:
        """Sentences on what was not sent as it came."""
        if self.replaced:
            yield f"{self.replaced} characters could not be read, and are U+FFFD now: half characters, or no UTF-8."
        where = f"are kept in {UNKNOWN_FIELDS}" if self.keeps else "were left out"
        for text, counted in (
            ("%d properties that the schema does not know %s: %s.", self.unknown),
            ("values of %d properties that do not fit the schema are null, and %s: %s.", self.lost),
        ):
            if counted:
                names = ", ".join(f"{printable(name)} ({counted[name]} times)" for name in sorted(counted))
                yield text % (len(counted), where, names)


def printable(name: str) -> str:
    """A name that the API gives, fit for a line of the log."""
    return name if name.isprintable() else ascii(name)


def _dotted(path: Path) -> str:
    return ".".join(step for step in path if isinstance(step, str))[:LONGEST_NAME]


def _remove(record: Mapping[str, Any], path: Sequence[str]) -> None:
    *objects, name = path
    inner: Any = record
    for step in objects:
        inner = inner.get(step) if isinstance(inner, dict) else None
    if isinstance(inner, dict):
        inner.pop(name, None)
