"""Lists in pages, each leading to the next by an opaque continuation token (guide, Paging)."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

import msgspec

from api_sandbox.api import Refused
from api_sandbox.faults import Fault

_NEW_FIELDS = {"addedLater": {"nested": [1, None]}, "added later": None}


class _Token(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is in a token.

    Attributes:
        page: Place in the chain of pages, from 1.
        after: Key of the last item that was given; None if none was.
        detour: It comes from an empty page with more to come.
    """

    path: str
    page: int
    after: int | None
    detour: bool = False

    def encoded(self) -> str:
        return urlsafe_b64encode(msgspec.json.encode(self)).decode()


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a list.

    Attributes:
        key: Orders the list. Items may come and go between two pages; if it is of the item itself, and not of its place
            in the list, no other is then lost or given twice.
        content: Gives what the API shows of it, which is asked for on its page only.
    """

    key: int
    content: Callable[[], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list.

    Attributes:
        here: The token that leads to it; None for the first page.
        following: The token that leads on; None at the end.
        beyond: The token that leads on even where nothing is.
        aside: The token that leads to these very items, for an empty page that goes before them.
        detour: An empty page went before it.
    """

    items: list[Any]
    number: int
    here: str | None
    following: str | None
    beyond: str
    aside: str
    detour: bool


def page_of(path: str, items: Sequence[Item], token: str | None, size: int) -> Page:
    """The page that a token leads to, of a list by ascending keys."""
    # A client that sends back the end of another vendor's variant begins again.
    at = _Token(path, 1, None) if token in {None, "", "null"} else _read(path, token or "")
    rest = [item for item in items if at.after is None or item.key > at.after]
    shown = rest[:size]
    beyond = _Token(path, at.page + 1, shown[-1].key if shown else at.after).encoded()
    following = beyond if len(rest) > size else None
    here = None if at.page == 1 and not at.detour else token
    aside = _Token(path, at.page + 1, at.after, detour=True).encoded()
    return Page([item.content() for item in shown], at.page, here, following, beyond, aside, at.detour)


def token_page(path: str, token: str | None) -> int | None:
    """The place of the page that a token leads to, from 1; None for a useless token."""
    try:
        return page_of(path, (), token, 1).number
    except Refused:
        return None


def spoil_page(page: Page, faults: Sequence[Fault]) -> Page:
    """The page with faults inside it. `repeat_cursor` gives the token sent in, whatever its `back`."""
    for fault in faults:
        if fault.kind == "repeat_cursor":
            page = replace(page, following=page.here)
        elif fault.kind == "more_without_cursor":
            page = replace(page, following=None)
        elif fault.kind == "cursor_without_more" and page.following is None:
            page = replace(page, following=page.beyond)
        elif fault.kind == "empty_page" and not page.detour:
            page = replace(page, items=[], following=page.aside)
        elif fault.kind == "unknown_fields":
            page = replace(page, items=[item | _NEW_FIELDS for item in page.items])
        elif fault.kind == "null_item":
            page = replace(page, items=[*page.items, None])
    return page


def _read(path: str, token: str) -> _Token:
    try:
        read = msgspec.json.decode(urlsafe_b64decode(token), type=_Token)
    except (ValueError, msgspec.DecodeError) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "the continuation token is malformed") from error
    if read.path != path:
        raise Refused(HTTPStatus.BAD_REQUEST, "the continuation token belongs to another list")
    return read
