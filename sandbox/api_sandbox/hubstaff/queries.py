"""Queries: what the path and the parameters of a request ask for."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from api_sandbox.hubstaff.clock import Clock
from api_sandbox.hubstaff.errors import ErrorCode, refuse
from api_sandbox.hubstaff.listing import ITEMS, LISTINGS, Listing
from api_sandbox.hubstaff.windows import Bounds, read_windows

DEFAULT_LIMIT = 100
"""Rows a page if nothing is asked for."""
MAX_LIMIT = 500
"""The most that may be asked for."""

_DIGITS = re.compile(r"[0-9]{1,18}")
_TEXTS = frozenset({"remote_ids", "email"})
_OTHERS = ("year", "include_removed")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


def _pattern(listing: Listing) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+\\\}", "([0-9]+)", re.escape(listing.path)))


_PATHS = tuple((_pattern(listing), listing) for listing in LISTINGS)
_ITEM = re.compile(r"(.+)/([0-9]+)")


@dataclass(frozen=True, slots=True)
class Query:
    """One question to a list, without the place in it.

    Attributes:
        owner: Id of what the path belongs to; 0 for the account.
        bounds: Stretches of time, by the name of the window.
        filters: Ids that are asked for, by the path of the values in the rows.
        chosen: Values of the parameters of few values, by the path of the field.
        shown: Fields that are hidden without being asked for.
    """

    listing: Listing
    owner: int
    bounds: Mapping[str, Bounds]
    filters: Mapping[str, frozenset[str]]
    chosen: Mapping[str, frozenset[str]]
    includes: tuple[str, ...]
    shown: frozenset[str]
    parameters: Mapping[str, str]
    limit: int
    start: int

    @property
    def key(self) -> tuple[object, ...]:
        """What the rows hang on, the page apart."""
        stretches = tuple((name, one.start, one.stop) for name, one in self.bounds.items())
        filters = tuple(sorted((path, *sorted(ids)) for path, ids in self.filters.items()))
        chosen = tuple(sorted((path, *sorted(values)) for path, values in self.chosen.items()))
        return self.listing.path, self.owner, stretches, filters, chosen, tuple(sorted(self.parameters.items()))


def find_listing(path: str) -> tuple[Listing | None, int]:
    """The list that a path names, if there is one, and the id in it."""
    for pattern, listing in _PATHS:
        found = pattern.fullmatch(path)
        if found is not None:
            return listing, int(found[1]) if found.groups() else 0
    return None, 0


def find_item(path: str) -> tuple[str, str, int]:
    """Stream, key of the answer and id of a path that names one record."""
    found = _ITEM.fullmatch(path)
    if found is None or found[1] not in ITEMS:
        raise refuse(ErrorCode.NOT_FOUND)
    stream, envelope = ITEMS[found[1]]
    return stream, envelope, int(found[2])


def parse_query(listing: Listing, owner: int, query_string: bytes, clock: Clock) -> Query:
    """The query of a request."""
    given = _given(query_string)
    single = {name: values[-1] for name, values in given.items()}
    for name in listing.requires:
        if name not in given:
            raise refuse(ErrorCode.INVALID, f"{name} is missing")
    return Query(
        listing=listing,
        owner=owner,
        bounds=read_windows(listing.windows, single, clock),
        filters=_filters(listing, given),
        chosen=_chosen(listing, given),
        includes=_includes(listing, given),
        shown=_shown(listing, given),
        parameters={name: single[name] for name in _OTHERS if name in single},
        limit=_number("page_limit", single.get("page_limit"), DEFAULT_LIMIT, 1, MAX_LIMIT),
        start=_number("page_start_id", single.get("page_start_id"), 0, 0, 10**18) if listing.paged else 0,
    )


def _given(query_string: bytes) -> dict[str, list[str]]:
    """All values by parameter. Lists may be written `a[]=1&a[]=2`, `a=1&a=2` or `a=1,2`."""
    given: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in parse_qsl(query_string.decode("latin-1"), keep_blank_values=True):
        given[name.removesuffix("[]")].append(value)
    return given


def _split(values: list[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _number(name: str, text: str | None, default: int, least: int, most: int) -> int:
    if text is None:
        return default
    if not _DIGITS.fullmatch(text) or not least <= int(text) <= most:
        raise refuse(ErrorCode.INVALID, f"{name} must be a whole number from {least} to {most}")
    return int(text)


def _filters(listing: Listing, given: Mapping[str, list[str]]) -> dict[str, frozenset[str]]:
    found = {}
    for name, path in listing.filters.items():
        if name in given:
            values = _split(given[name])
            if name not in _TEXTS and not all(map(_DIGITS.fullmatch, values)):
                raise refuse(ErrorCode.INVALID, f"{name} must be ids")
            found[path] = frozenset(values)
    return found


def _chosen(listing: Listing, given: Mapping[str, list[str]]) -> dict[str, frozenset[str]]:
    found = {}
    for name, choice in listing.choices.items():
        values = tuple(_split(given[name])) if name in given else choice.default
        if values is None:
            continue
        if not set(values) <= set(choice.values) or not values or (len(values) > 1 and not choice.many):
            raise refuse(ErrorCode.INVALID, f"{name} does not have a valid value")
        if choice.everything not in values:
            found[choice.field or name] = frozenset(values)
    return found


def _includes(listing: Listing, given: Mapping[str, list[str]]) -> tuple[str, ...]:
    wanted = _split(given.get("include", []))
    known = {*listing.includes, *(name.partition("=")[2] for name in listing.extras)}
    for name in wanted:
        if name not in known:
            raise refuse(ErrorCode.INVALID, "include does not have a valid value")
    return tuple(name for name in listing.includes if name in wanted)


def _shown(listing: Listing, given: Mapping[str, list[str]]) -> frozenset[str]:
    shown = set()
    for name, hidden in listing.extras.items():
        parameter, _, value = name.partition("=")
        if value:
            if value in _split(given.get(parameter, [])):
                shown.add(hidden)
        elif parameter in given:
            text = given[parameter][-1].lower()
            if text not in _FLAGS:
                raise refuse(ErrorCode.INVALID, f"{parameter} must be true or false")
            if _FLAGS[text]:
                shown.add(hidden)
    return frozenset(shown)


def flag(parameters: Mapping[str, str], name: str) -> bool:
    """Whether a parameter says true."""
    return _FLAGS.get(parameters.get(name, "false").lower(), False)
