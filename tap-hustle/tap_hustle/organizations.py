"""The organizations that the credentials show, which other lists are read by: listed once a run."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from singer_http.http.errors import ApiError, MalformedAnswerError
from singer_http.reading.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from singer_http.http.shard import Shard
    from singer_http.reading.pages import Page, Slice
    from singer_http.run import Run


class VisibleOrganizations:
    """The organizations that the credentials show.

    Args:
        run: Its session asks for them.
        wanted: The ids that the settings restrict the run to; nothing for all.
        shard: The part of them that the run reads.
        whole: Makes the slice of the whole list.
    """

    def __init__(self, run: Run, wanted: Iterable[str] | None, shard: Shard, whole: Callable[[], Slice]) -> None:
        self._run = run
        self._shard = shard
        self._whole = whole
        self._pages: list[Page] = []
        self.wanted = frozenset(wanted or ()) or None
        self.are_listed = False

    @property
    def ids(self) -> tuple[str, ...]:
        """Those to read by, in the API's order; raises :class:`ApiError` where they cannot be listed."""
        wanted = self.visible() if self.wanted is None else filter(self.wanted.__contains__, self.visible())
        return tuple(filter(self._shard.holds, wanted))

    def visible(self) -> tuple[str, ...]:
        """Every one that there is, wanted or not; raises :class:`ApiError` where they cannot be listed."""
        if isinstance(self._listed, ApiError):
            raise self._listed
        return self._listed

    def pages(self) -> Iterator[Page]:
        """The pages of the list, and then the error that it ended with, if any."""
        yield from self._pages
        if isinstance(self._listed, ApiError):
            raise self._listed

    @cached_property
    def _listed(self) -> tuple[str, ...] | ApiError:
        self.are_listed = True
        try:
            return tuple(dict.fromkeys(self._list()))
        except ApiError as failure:
            return failure

    def _list(self) -> Iterator[str]:
        with Reader(self._run.session, [self._whole()]) as reader:
            for _, pages in reader:
                for page in pages:
                    self._pages.append(page)
                    for organization in page.decode():
                        if not isinstance(organization.get("id"), str):
                            raise MalformedAnswerError(
                                "GET /organizations: an organization came without its id: tell Hustle's support."
                            )
                        yield organization["id"]
