"""The base class of all streams: a list of each organization."""

from __future__ import annotations

import datetime as dt
import logging
import math
from collections import Counter
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from singer_http.http.errors import ApiError, ServerFailedError
from singer_http.http.rules import RULES, Fault, rule_for
from singer_http.reading.pages import Slice
from singer_http.resume import RESUME, Bookmark, FullTable, Natural
from singer_http.schemas import ApiSchema
from singer_http.stream import ApiStream
from singer_sdk import SchemaDirectory
from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL
from typing_extensions import override

from tap_hubstaff import schemas
from tap_hubstaff.client import parse_page
from tap_hubstaff.times import iso, parse_iso

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from singer_http.http.rules import Rule
    from singer_http.reading.pages import Page
    from singer_http.tap import ApiTap
    from singer_sdk import metrics
    from singer_sdk.helpers.types import Context, Record

    from tap_hubstaff.account import Account

    Partition = Mapping[str, Any]

logger = logging.getLogger(__name__)

LIMIT = "page_limit"
SMALLEST_PAGE = 25
"""No page is halved to fewer records: so few do not take the API too long."""
EVERY_OTHER = "*"
"""Stands for every stream that the setting ``refresh`` does not name."""
REMEMBERED = dt.timedelta(days=7)
"""A list is asked for smaller pages for so long; then larger ones are tried again."""
HASTY_TRIES = 2
"""So many requests for what may be too much, if less can be asked for."""
_CUT_OFF = (
    " Hubstaff ends a request after 30 seconds, with an empty body or HTTP 503, and this one asks for the least that"
    " can be asked for."
)
PATIENT_RULES = tuple(
    replace(rule, sentence=rule.sentence + _CUT_OFF) if rule in {rule_for(Fault.EMPTY), rule_for(503)} else rule
    for rule in RULES
)
"""For requests that cannot be for less."""
HASTY_RULES = tuple(
    replace(rule, tries=min(rule.tries, HASTY_TRIES)) if issubclass(rule.error, ServerFailedError) else rule
    for rule in RULES
)


class ListSlice(Slice):
    """A list whose pages are halved when the API fails at them: a ``page_start_id`` is valid with any limit."""

    __slots__ = ()

    @property
    def rows(self) -> int:
        """Records asked for in a page; 0 if it is no list."""
        return int(self.params.get(LIMIT, 0))

    @override
    def rules(self, cursor: str | None) -> tuple[Rule, ...]:
        return HASTY_RULES if self.is_divisible(cursor) else PATIENT_RULES

    def is_divisible(self, cursor: str | None) -> bool:  # noqa: ARG002 - for windows
        """Whether less can be asked for if the API fails at a cursor."""
        return self.rows > SMALLEST_PAGE

    @override
    def instead(self, cursor: str | None, failure: ApiError) -> str | None:
        if not isinstance(failure, ServerFailedError) or not ListSlice.is_divisible(self, cursor):
            raise failure
        self.params[LIMIT] = max(self.rows // 2, SMALLEST_PAGE)
        logger.info("%s: the API could not answer for the whole page. Asking for pages of %d.", self.label, self.rows)
        return cursor


class HubstaffBookmark(Bookmark):
    """What STATE holds of an organization."""

    page_limit: dict[str, Any] | None = None
    read_at: str | None = None
    read_as: str | None = None
    requests: Natural | None = None
    begun_at: str | None = None


class HubstaffStream(ApiStream):
    """A list of each organization.

    A subclass says what the vendor says: the path, unless it ends with the stream's name; what the list is called in
    the answer; and what it has to be asked for so that it hides nothing.
    """

    schema: ClassVar[ApiSchema] = ApiSchema(SchemaDirectory(schemas))
    primary_keys: ClassVar[tuple[str, ...]] = ("id",)
    cursor_param = "page_start_id"
    slice_type = ListSlice
    bookmark: ClassVar[type[Bookmark]] = HubstaffBookmark
    envelope: ClassVar[tuple[str, ...]] = ()
    """What the list may be called in the answer; empty for the stream's name."""
    asked_for: ClassVar[Mapping[str, str | int]] = {}
    """Parameters of every request: without them the list hides rows."""
    shares: ClassVar[str | None] = None
    """The stream whose list this one comes with: it is read once a run, see :mod:`tap_hubstaff.shared_lists`."""
    is_by_organization: ClassVar[bool] = True
    """Whether each organization has a list; False for the list of organizations itself."""
    filters: ClassVar[frozenset[str]] = frozenset()
    """Which of the settings ``user_ids``, ``project_ids`` and ``task_ids`` the list takes."""

    @override
    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" in vars(cls) and "path" not in vars(cls):
            cls.path = f"/organizations/{{organization_id}}/{vars(cls)['name']}"

    def __init__(self, tap: ApiTap, account: Account) -> None:
        super().__init__(tap, tap.run)
        self._account = account
        self._pages: Counter[int | None] = Counter()
        self._not_read: set[int | None] = set()

    @override
    def parse(self, body: bytes) -> Page:
        return parse_page(body, self.envelope or (self.name,))

    @property
    def page_limit(self) -> int:
        """The most records asked for in one page."""
        return int(self.config["page_size"])

    @override
    def query(self, partition: Partition | None) -> dict[str, str | int]:
        # Ids are joined by commas: the default of Swagger 2.0.
        chosen = {
            setting: ",".join(map(str, self.config[setting]))
            for setting in sorted(self.filters)
            if self.config.get(setting)
        }
        return {LIMIT: self._rows_a_page(partition), **self.asked_for, **chosen}

    def _rows_a_page(self, partition: Partition | None) -> int:
        """As many as the settings say, or fewer if the API lately failed at so many."""
        remembered: Any = self.bookmarks.get(partition).get(LIMIT)
        try:
            is_recent = parse_iso(remembered["until"]) > self._account.now()
            return min(int(remembered["rows"]), self.page_limit) if is_recent else self.page_limit
        except (LookupError, TypeError, ValueError, AttributeError):
            return self.page_limit

    @override
    def _sync_slice(
        self, slice_: Slice, pages: Iterator[Page], counter: metrics.Counter, *, write_messages: bool
    ) -> Iterator[Record]:
        organization = _organization(slice_.partition)
        try:
            yield from super()._sync_slice(
                slice_, self._counted(organization, pages), counter, write_messages=write_messages
            )
        finally:
            self.remember(slice_)

    @override
    def _leave_out(self, slice_: Slice, failure: ApiError) -> None:
        super()._leave_out(slice_, failure)
        self._not_read.add(_organization(slice_.partition))

    def _counted(self, organization: int | None, pages: Iterator[Page]) -> Iterator[Page]:
        for page in pages:
            self._pages[organization] += 1
            yield page

    def remember(self, slice_: Slice) -> None:
        """Keep for the next runs how large a page the API could give."""
        if isinstance(slice_, ListSlice) and 0 < slice_.rows < self._rows_a_page(slice_.partition):
            until = iso(self._account.began + REMEMBERED)
            self.bookmarks.of(slice_.partition)[LIMIT] = {"rows": slice_.rows, "until": until}
            self.state_manager.is_flushed = False

    @property
    @override
    def bounds(self) -> Any:
        # Otherwise each organization has a bookmark of its own.
        return None if self.replication_method == REPLICATION_INCREMENTAL else super().bounds

    @property
    @override
    def partitions(self) -> list[dict[str, Any]] | None:
        return [{"organization_id": organization} for organization in self.due] if self.is_by_organization else None

    # How old a list may be

    @cached_property
    def due(self) -> tuple[int, ...]:
        """The organizations whose lists this run reads: see the setting ``refresh``.

        If runs stop at the quota, what was cut off comes first, then what was never read, then the oldest.
        """
        due = self.due_of(self._account.organizations)
        if self.config["on_quota"] != "stop" or isinstance(self.resume, FullTable):
            return due
        return tuple(sorted(due, key=self._turn))

    def _turn(self, organization: int) -> tuple[bool, float]:
        bookmark = self.bookmarks.get({"organization_id": organization})
        return RESUME not in bookmark, -age_in_seconds(age(bookmark, self._account.began))

    def save_quota(self) -> None:
        """Read only what was not reached since a run was first cut off here, so that other streams get their turn."""
        begun = age_in_seconds(age(self.bookmarks.stream, self._account.began, "begun_at"))
        left = tuple(own for own in self.due if begun == math.inf or -self._turn(own)[1] > begun)
        if not isinstance(self.resume, FullTable) and len(left) < len(self.due):
            self.logger.warning(
                "%s: the quota is short. This run reads %d organizations, and leaves %d to a later one, which were read"
                " since %s.",
                self.name,
                len(left),
                len(self.due) - len(left),
                self.bookmarks.stream["begun_at"],
            )
            self.due = left

    def due_of(self, organizations: Sequence[int]) -> tuple[int, ...]:
        """Those of some organizations whose lists this run reads."""
        due = tuple(organization for organization in organizations if self._is_due(organization))
        # What is gone shows only in a table that is read as a whole.
        is_sought = self.config["emit_activate_version_messages"] or self.config["changes_only"]
        is_whole = isinstance(self.resume, FullTable) and self.is_kept and is_sought
        return tuple(organizations) if due and is_whole else due

    @property
    def read_as(self) -> str:
        """Changes with all that decides what a read brings."""
        return self.resume.fingerprint

    def _is_due(self, organization: int) -> bool:
        """Whether a list was read too long ago, or with other settings, or not to its end."""
        refresh = self.config.get("refresh") or {}
        longest = dt.timedelta(seconds=refresh.get(self.name, refresh.get(EVERY_OTHER, 0)))
        bookmark = self.bookmarks.get({"organization_id": organization})
        if not longest or RESUME in bookmark or bookmark.get("read_as") != self.read_as:
            return True
        read = age(bookmark, self._account.began)
        return read is None or read >= longest

    def oldest(self) -> dt.timedelta | None:
        """How long ago the oldest list was read; None if one was never read to its end."""
        ids: Sequence[int | None] = self._account.organizations if self.is_by_organization else (None,)
        ages = [age(self.bookmarks.get(_partition(each)), self._account.began) for each in ids]
        known = [each for each in ages if each is not None]
        return max(known) if known and len(known) == len(ages) else None

    @property
    def is_cut_off(self) -> bool:
        """Whether the last run ended in the middle of this stream."""
        return "begun_at" in self.bookmarks.stream

    @override
    def _sync_records(
        self, context: Context | None = None, *, write_messages: bool = True
    ) -> Generator[Record, Any, None]:
        self.bookmarks.stream.setdefault("begun_at", iso(self._account.began))
        yield from super()._sync_records(context, write_messages=write_messages)

    @override
    def finalize_state_progress_markers(self, state: dict[str, Any] | None = None) -> None:
        self.bookmarks.stream.pop("begun_at", None)
        if self.selected and not self.resume.is_done:
            at = self._account.began
            if isinstance(self.resume, FullTable):  # it may have begun in an earlier run
                at = dt.datetime.fromtimestamp(self.resume.version / 1000, dt.timezone.utc)
            for organization in self.due if self.is_by_organization else (None,):
                self._note_read(organization, at)
        super().finalize_state_progress_markers(state)

    def _note_read(self, organization: int | None, at: dt.datetime) -> None:
        if organization not in self._not_read:
            self.bookmarks.of(_partition(organization)).update(
                read_at=iso(at), read_as=self.read_as, requests=self._pages[organization]
            )

    @property
    @override
    def doubt(self) -> str | None:
        is_every = not self.is_by_organization or set(self.due) == set(self._account.organizations)
        return super().doubt if is_every else "lists that were read lately were not read again"

    @override
    def _activate(self) -> bool:
        # If nothing was read, the version of the last read is still valid.
        is_due = self.due or not (self.is_by_organization and self._account.organizations)
        return super()._activate() if is_due else False

    @property
    @override
    def is_read_ahead(self) -> bool:
        return self.shares is None

    @override
    def read(self) -> Iterator[tuple[Slice, Iterator[Page]]]:
        before = None
        for slice_, pages in super().read() if self.is_read_ahead else self._shared():
            organization = _organization(slice_.partition)
            if before not in {None, organization} and not isinstance(self.resume, FullTable):
                self._note_read(before, self._account.began)  # its slices come one behind the other
            before = organization
            yield slice_, pages

    def _shared(self) -> Iterator[tuple[Slice, Iterator[Page]]]:
        for slice_ in self.slices():
            yield slice_, self._account.pages(slice_.path, self.parse)

    def whole(self, partition: Partition | None) -> Slice:
        """The list of a partition, from its beginning."""
        return self._slice(partition)

    @override
    def _begin(self) -> None:
        if self.due and self.is_versioned and isinstance(self.resume, FullTable) and not self.resume.is_resumed:
            # Its version removes the rows of organizations that this run does not read.
            for bookmark in (self.bookmarks.stream, *self.bookmarks.stream.get("partitions", ())):
                bookmark.pop("read_as", None)
        super()._begin()
        if self._account.is_any_left_out:
            self._doubt = "an organization was left out"

    def forecast(self, organization: int) -> int:
        """How many requests an organization's list will take: as many as the last time."""
        return self.bookmarks.get({"organization_id": organization}).get("requests") or 1


def _organization(partition: Partition | None) -> int | None:
    return partition["organization_id"] if partition else None


def _partition(organization: int | None) -> Partition | None:
    return None if organization is None else {"organization_id": organization}


def age(bookmark: Mapping[str, Any], now: dt.datetime, since: str = "read_at") -> dt.timedelta | None:
    """How long ago a list was read; None if STATE does not say, or names a time in the future."""
    try:
        found = now - parse_iso(bookmark[since])
    except (LookupError, ValueError, TypeError, AttributeError):
        return None
    return found if found >= dt.timedelta(0) else None


def age_in_seconds(age: dt.timedelta | None) -> float:
    """For how long a list was not read; infinite for one that never was."""
    return math.inf if age is None else age.total_seconds()
