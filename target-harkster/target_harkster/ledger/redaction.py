"""Blacks out properties of rows that are kept although they were rejected."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from singer_sdk.helpers._flattening import FlatteningOptions, flatten_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REDACTED = "(redacted)"


@dataclass(frozen=True, slots=True)
class Redaction:
    """The properties whose values are not kept.

    Attributes:
        names: Of the properties, and of those that stream maps make of them.
        separator: Between the parts of a flattened name, each of which counts; None where nothing is flattened.
    """

    names: frozenset[str] = frozenset()
    separator: str | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Redaction:
        """The redaction that the settings ask for."""
        names = set(config["reject_redact"])
        for properties in (config.get("stream_maps") or {}).values():
            for made, expression in properties.items() if isinstance(properties, dict) else ():
                if isinstance(expression, str) and names.intersection(re.findall(r"\w+", expression)):
                    names.add(made)
        flattening = FlatteningOptions.from_dict(cast("Any", config))
        if not flattening.enabled:
            return cls(frozenset(names))
        # Names that are too long for flattening_max_key_length have some of their parts abbreviated.
        names |= {flatten_key(name, [], max_key_length=1) for name in names}
        return cls(frozenset(names), flattening.separator)

    def covers(self, name: str) -> bool:
        """Whether the value of a property is not kept."""
        return not self.names.isdisjoint([name, *(name.split(self.separator) if self.separator else ())])

    def found(self, value: Any) -> Iterator[str]:
        """The names of covered properties, nested ones too."""
        if isinstance(value, dict):
            yield from filter(self.covers, value)
            value = [*value.values()]
        if isinstance(value, list):
            for inner in value:
                yield from self.found(inner)

    def blacked_out(self, value: Any) -> Any:
        """A value without what is in covered properties, however deep."""
        if isinstance(value, dict):
            return {name: REDACTED if self.covers(name) else self.blacked_out(inner) for name, inner in value.items()}
        return [self.blacked_out(inner) for inner in value] if isinstance(value, list) else value
