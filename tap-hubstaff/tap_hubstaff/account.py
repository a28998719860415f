"""What the streams of a run share: its times, its organizations, and the lists that several of them come from."""

from __future__ import annotations

import datetime as dt
import hashlib
import zlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import msgspec
from singer_http.http.errors import ApiError, FatalError, MalformedAnswerError
from singer_http.http.session import UNREADABLE
from singer_http.http.shard import Shard
from typing_extensions import Self

from tap_hubstaff.client import parse_page
from tap_hubstaff.times import BEGINNING, midnight, months_before, parse_iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from singer_http.reading.pages import Page
    from singer_http.tap import ApiTap

    Partition = Mapping[str, Any]

DEFAULT_MONTHS = 36
"""How far back to read without ``start_date``: three years, as long as the vendor keeps most lists."""


def organization_of(partition: Partition | None) -> int:
    """The organization of a partition, in a stream that is read by organization."""
    return cast("int", cast("Partition", partition)["organization_id"])


def list_path(name: str, organization: int) -> str:
    """The path of an organization's list."""
    return f"/organizations/{organization}/{name}"


@dataclass(frozen=True, slots=True)
class Owner:
    """A team, say, that has lists of its own.

    Attributes:
        id: Its id.
        fingerprint: Of its row in the organization's list.
    """

    id: int
    fingerprint: str

    @classmethod
    def of(cls, row: Mapping[str, Any], name: str) -> Self:
        """The owner of a row in a list."""
        encoded = msgspec.json.encode(row, order="sorted")
        return cls(row_id(row, name), hashlib.sha256(encoded).hexdigest()[:12])


@dataclass(frozen=True, slots=True)
class _StoredPage:
    """A page that several streams share: as it came, but compressed."""

    cursor: str | None
    body: bytes
    following: str | None
    at: dt.datetime


class Account:
    """What a run knows of the account before its streams are read.

    Args:
        tap: Has the settings, and the session that tells the time.
    """

    def __init__(self, tap: ApiTap) -> None:
        self._tap = tap
        self._lists: dict[str, list[_StoredPage] | ApiError] = {}
        self._owners: dict[str, tuple[Owner, ...]] = {}
        self._created: dict[int, dt.datetime] = {}
        self.organizations: tuple[int, ...] = ()
        """The ids of those that this run reads, in the API's order."""
        self.is_any_left_out = False
        """Whether an organization that is wanted cannot be read: no table is whole then."""
        self.client_names: dict[int | None, msgspec.Raw] = {}
        """The names of clients, as JSON, by id, if a stream needs them."""

    # Times

    def now(self) -> dt.datetime:
        """The time by the API's clock, in UTC."""
        return dt.datetime.fromtimestamp(self._tap.session.now(), dt.timezone.utc)

    @cached_property
    def began(self) -> dt.datetime:
        """When the run began: what happens later belongs to the next run."""
        return self.now()

    @property
    def start_date(self) -> dt.datetime:
        """From when data are wanted; the vendor may keep less."""
        if self._tap.config.get("start_date"):
            return parse_iso(self._tap.config["start_date"])
        return midnight(months_before(self.began, DEFAULT_MONTHS))

    @property
    def end_date(self) -> dt.datetime | None:
        """The last day that is wanted; None for today."""
        return parse_iso(self._tap.config["end_date"]) if self._tap.config.get("end_date") else None

    # Organizations

    @property
    def wanted(self) -> frozenset[int] | None:
        """The organizations that the settings name; None for all."""
        return frozenset(self._tap.config.get("organization_ids") or ()) or None

    def know(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take note of the organizations that the credentials show."""
        self._created = {row_id(row, "organizations"): _created(row) for row in rows}
        wanted = self._created if self.wanted is None else filter(self.wanted.__contains__, self._created)
        self.organizations = tuple(filter(Shard.of(self._tap.config).holds, wanted))

    @property
    def unknown(self) -> list[int]:
        """The organizations that the settings name and the credentials do not show."""
        return sorted((self.wanted or frozenset()).difference(self._created))

    def leave_out(self, organization: int) -> None:
        """Read nothing of an organization."""
        self.organizations = tuple(each for each in self.organizations if each != organization)
        self.is_any_left_out = True

    def created(self, organization: int) -> dt.datetime:
        """When an organization was created."""
        return self._created.get(organization, BEGINNING)

    # Lists that are read once, for several streams

    def keep(self, path: str, pages: Iterable[Page]) -> None:
        """Read a list to its end and keep its pages, or its failure."""
        try:
            self._lists[path] = [
                _StoredPage(page.cursor, zlib.compress(memoryview(page.records), 1), page.next, page.at)
                for page in pages
            ]
        except FatalError:
            raise
        except ApiError as failure:
            self._lists[path] = failure

    def is_read(self, path: str) -> bool:
        """Whether a list was read."""
        return path in self._lists

    def pages(self, path: str, parse: Callable[[bytes], Page] | None = None) -> Iterator[Page]:
        """The pages of a list that was read before.

        Args:
            path: The list; its name is the last part.
            parse: Makes a page of an answer; None if the list has its own name in it.

        Raises:
            ApiError: They could not be read.
        """
        stored, name = self._lists[path], path.rpartition("/")[2]
        if isinstance(stored, ApiError):
            raise stored
        for one in stored:
            body = zlib.decompress(one.body)
            try:
                page = parse_page(body, (name,)) if parse is None else parse(body)
            except UNREADABLE:
                raise MalformedAnswerError(
                    f"{name}: the list holds something other than records: tell Hubstaff's support."
                ) from None
            yield replace(page, next=one.following, cursor=one.cursor, at=one.at)

    def rows(self, path: str) -> list[dict[str, Any]]:
        """The rows of a list that was read before; raises as :meth:`pages` does."""
        return [row for page in self.pages(path) for row in page.decode()]

    def owners(self, name: str, organization: int) -> tuple[Owner, ...]:
        """The owners of lists in an organization, such as its teams.

        Raises:
            ApiError: They could not be listed.
        """
        path = list_path(name, organization)
        if path not in self._owners:
            self._owners[path] = tuple(Owner.of(row, name) for row in self.rows(path))
        return self._owners[path]


def row_id(row: Mapping[str, Any], name: str) -> int:
    """The id of a row of a list.

    Raises:
        MalformedAnswerError: It has none.
    """
    own = row.get("id")
    if not isinstance(own, int):
        raise MalformedAnswerError(f"{name}: a record came without its id: tell Hubstaff's support.")
    return own


def _created(row: Mapping[str, Any]) -> dt.datetime:
    try:
        return max(BEGINNING, parse_iso(row["created_at"]))
    except (LookupError, ValueError, TypeError, AttributeError):
        return BEGINNING
