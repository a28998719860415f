"""The Harkster API: its lists and its writes.

Facts from the vendor's guide: lists go on where the answer has ``X-Harkster-Continuation``, which is sent back as a
request header; the quota counts published posts by month and account, and the headers ``X-Harkster-Quota`` and
``X-Harkster-Usage``; a 429 with ``X-Harkster-Quota-Reached: true`` is the quota, any other the rate limit; publishing
and deleting answer 204; DELETE has a JSON body. What creating answers is not documented.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from singer_http.http.auth import fixed_token
from singer_http.http.budget import Budget
from singer_http.http.errors import ApiError, MalformedAnswerError, NotFoundError, RefusedRequestError
from singer_http.http.rules import RULES, TRIES, Action, Fault, Rule, Rules
from singer_http.http.session import UNREADABLE, Session
from singer_http.http.transport import Request, Transport

from target_harkster.vendor.posts import RemotePost, remote_post

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from singer_http.http.clock import Clock
    from singer_http.http.transport import Answer

DEFAULT_URL = "https://api.harkster.com/public/v1"
REQUESTS_PER_SECOND = 10
"""The vendor names no figure for its rate limit. This is modest, and a 429 is waited for."""

CONTINUATION = "X-Harkster-Continuation"
QUOTA, USAGE, QUOTA_REACHED = "X-Harkster-Quota", "X-Harkster-Usage", "X-Harkster-Quota-Reached"
_TOO_MANY = 429
_DONE = 204


class PostQuotaReachedError(ApiError):
    """The account may publish no more posts this month."""


class UncertainError(ApiError):
    """It is not known whether a write was carried out. Look before it is sent again."""


class PostRefusedError(RefusedRequestError):
    """The API refuses this post. Others may pass. The text continues a sentence that begins with the post.

    Attributes:
        field_index: Of the field that the API names, from 0; None where it names none.
    """

    field_index: int | None = None


_FIELD_INDEX = re.compile(rb"dataset\W{1,2}(\d{1,4})\b")
"""Where an answer names a field by its index. The rest of the answer may hold people's data and is not logged."""
_REFUSALS = (400, 409, 413, 422)
WRITE_RULES: tuple[Rule, ...] = (
    *(
        Rule(lost, Action.FAIL, UncertainError, f"{what}; it is not known whether the API has carried it out.")
        for lost, what in (
            *((fault, fault.value) for fault in (Fault.TIMEOUT, Fault.BROKEN, Fault.EMPTY, Fault.MALFORMED)),
            *((statuses, "HTTP {status}") for statuses in (range(408, 409), range(500, 600))),
        )
    ),
    *RULES,
)
"""What to do about a failed write that must not be carried out twice.

Sent again is only what the API certainly did not do: it was not reached, or refused for its rate limit.
"""
_POST_RULES = (
    *(Rule(range(status, status + 1), Action.FAIL, PostRefusedError, "HTTP {status}") for status in _REFUSALS),
    *WRITE_RULES,
)
_DRAFT_RULES = (Rule(range(404, 405), Action.RETRY, NotFoundError, "HTTP 404, {tries} times", TRIES), *RULES)
"""What to do about a failed look at a draft that was just created: a part of the API may not know it yet."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel, and where it is.

    Attributes:
        id: The vendor's.
        account_id: Of the account whose quota its posts count for.
        names: Of account, workspace and channel.
    """

    id: str
    account_id: str
    names: tuple[str, str, str]

    @property
    def path(self) -> str:
        """The names with slashes between them."""
        return "/".join(self.names)


@dataclass(frozen=True, slots=True)
class Usage:
    """Posts published in this month, and how many may be."""

    quota: int
    usage: int


class HarksterApi:
    """Sends the requests.

    Args:
        config: The target's settings, validated.
        clock: Measures and waits.

    Attributes:
        usages: By account, its quota and usage as last seen.
        before_write: Called right before a write is sent; what it raises, it prevents.
    """

    def __init__(self, config: Mapping[str, Any], clock: Clock) -> None:
        self._session = Session(
            base_url=config["api_url"],
            transport=Transport(config["user_agent"], config["request_timeout"], 1, clock),
            tokens=fixed_token(config["access_token"], "access_token", clock),
            budget=Budget(config["requests_per_second"], 1.0, clock),
            clock=clock,
            inspect=self._inspect,
        )
        self._field_index: int | None = None
        self._newest: str | None = None
        self.usages: dict[str, Usage] = {}
        self.before_write: Callable[[], None] = lambda: None

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def channels(self) -> list[Channel]:
        """Every channel that the token shows."""
        return [
            Channel(
                str(found["id"]),
                str(found.get("accountId", "")),
                (str(found.get("accountName", "")), str(found.get("workspaceName", "")), str(found.get("name", ""))),
            )
            for found in self._list("/channels")
        ]

    def usage(self, account_id: str) -> Usage:
        """Read what is left of an account's quota."""
        found = self._read(f"/accounts/{_quoted(account_id)}/usages")
        try:
            usage = self.usages[account_id] = Usage(int(found["postQuota"]), int(found["postUsage"]))
        except (KeyError, TypeError, ValueError):
            raise MalformedAnswerError(
                "GET /accounts/…/usages: the quota and its usage are not numbers: tell Harkster's support."
            ) from None
        return usage

    def templates(self, channel_id: str) -> list[tuple[str, str]]:
        """Id and name of the templates of a channel."""
        path = f"/channels/{_quoted(channel_id)}/templates"
        return [(str(found["id"]), str(found.get("name", ""))) for found in self._list(path)]

    def template(self, channel_id: str, template_id: str) -> list[dict[str, Any]]:
        """The fields of a template."""
        found = self._read(f"/channels/{_quoted(channel_id)}/templates/{_quoted(template_id)}")
        data = found.get("data")
        if isinstance(data, str):
            # The guide says a string in lists and an object here. Both are read.
            data = _decode(data.encode())
        if not isinstance(data, dict) or not isinstance(data.get("dataset"), list):
            raise MalformedAnswerError(
                f"The template {template_id} has no list of fields: name another template, or none."
            )
        return [field for field in data["dataset"] if isinstance(field, dict)]

    def heading_type(self, channel_id: str) -> str:
        """The name of headings in a channel. The guide's table and its samples differ."""
        posts = (post.get("data") for post in self.raw_posts(channel_id))
        in_posts = (data.get("dataset", ()) for data in posts if isinstance(data, dict))
        in_templates = (self.template(channel_id, template_id) for template_id, _ in self.templates(channel_id))
        for field in itertools.chain.from_iterable(itertools.chain(in_posts, in_templates)):
            if isinstance(field, dict) and field.get("type") in {"heading", "header"}:
                return str(field["type"])
        return "heading"

    def raw_posts(self, channel_id: str) -> Iterator[dict[str, Any]]:
        """The posts of a channel as the API answers them."""
        return self._list(_posts(channel_id))

    def posts(self, channel_id: str) -> Iterator[RemotePost]:
        """The posts of a channel. Those of an undocumented form are skipped: this target did not write them."""
        for found in self.raw_posts(channel_id):
            try:
                yield remote_post(found)
            except (KeyError, TypeError):
                continue

    def post(self, channel_id: str, post_id: str) -> RemotePost | None:
        """One post; None if it is not there. Of the draft that was created last, that is not believed at once."""
        try:
            found = self._read(_posts(channel_id, post_id), _DRAFT_RULES if post_id == self._newest else RULES)
            return remote_post(found)
        except NotFoundError:
            return None
        except (KeyError, TypeError):
            raise MalformedAnswerError(
                "GET …/posts/…: the answer is not a post as the API documents it: tell Harkster's support."
            ) from None

    def create(self, channel: Channel, body: Mapping[str, Any]) -> str | None:
        """Create a draft. Returns its id, if the answer has one."""
        _, found = self._write(channel, Request("POST", _posts(channel.id), body=body))
        self._newest = str(found["id"]) if isinstance(found, dict) and found.get("id") else None
        return self._newest

    def update(self, channel: Channel, post_id: str, body: Mapping[str, Any]) -> bool:
        """Replace the content of a post. Returns whether the answer says anything."""
        _, found = self._write(channel, Request("PUT", _posts(channel.id, post_id), body=body))
        return bool(found)

    def publish(self, channel: Channel, post_id: str) -> bool:
        """Publish a draft. Returns whether the answer is the documented one."""
        status, _ = self._write(channel, Request("PUT", f"{_posts(channel.id, post_id)}/publish"))
        return status == _DONE

    def delete(self, channel: Channel, post_id: str, *, recall: bool) -> bool:
        """Delete a post, from the followers' timelines too if wanted. Returns as :meth:`publish` does."""
        self._newest = None
        status, _ = self._write(channel, Request("DELETE", _posts(channel.id, post_id), body={"recallMessage": recall}))
        return status == _DONE

    def _read(self, path: str, rules: Rules = RULES) -> dict[str, Any]:
        return self._session.exchange(Request("GET", path), lambda answer: _decode_object(answer.body), rules)

    def _list(self, path: str) -> Iterator[dict[str, Any]]:
        """Each item of a list once: pages overlap if something is added between two requests."""
        continuation: str | None = None
        seen: set[str] = set()
        given: set[str] = set()
        while True:
            headers = {CONTINUATION: continuation} if continuation else None
            items, continuation = self._session.exchange(Request("GET", path, headers=headers), _page)
            for item in items:
                item_id = item.get("id")
                if item_id is None or str(item_id) not in given:
                    given.add(str(item_id))
                    yield item
            if not continuation:
                return
            if continuation in seen:
                raise ApiError(
                    f"GET {path}: the API gave the same page twice, so the list cannot be read: tell"
                    " Harkster's support."
                )
            seen.add(continuation)

    def _write(self, channel: Channel, request: Request) -> tuple[int, Any]:
        def parse(answer: Answer) -> tuple[int, Any]:
            self._note(channel.account_id, answer)
            try:
                # The guide documents no answers to writes but empty ones.
                return answer.status, _decode(answer.body) if answer.body.strip() else None
            except UNREADABLE:
                # Probably from a proxy rather than from the API.
                raise UncertainError(
                    f"{request}: the answer (HTTP {answer.status}) is no JSON; it is not known whether the API has"
                    " carried it out."
                ) from None

        try:
            return self._session.exchange(request, parse, _POST_RULES, on_turn=self.before_write)
        except PostRefusedError as error:
            refused = PostRefusedError(f"was refused by the API ({error})")
            refused.field_index = self._field_index
            raise refused from None

    def _inspect(self, answer: Answer) -> None:
        if answer.status == _TOO_MANY and answer.headers.get(QUOTA_REACHED, "").strip().lower() == "true":
            raise PostQuotaReachedError("The quota of posts is used up for this month (HTTP 429).")
        named = _FIELD_INDEX.search(answer.body) if answer.status in _REFUSALS else None
        self._field_index = int(named[1]) if named else None

    def _note(self, account_id: str, answer: Answer) -> None:
        try:
            self.usages[account_id] = Usage(int(answer.headers[QUOTA]), int(answer.headers[USAGE]))
        except (KeyError, ValueError):
            return


_decode: Callable[[bytes], Any] = msgspec.json.Decoder().decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_decode_items = msgspec.json.Decoder(list[dict[str, Any]]).decode


def _page(answer: Answer) -> tuple[list[dict[str, Any]], str | None]:
    continuation = answer.headers.get(CONTINUATION, "").strip()
    return _decode_items(answer.body), None if continuation in {"", "null"} else continuation


def _posts(channel_id: str, post_id: str | None = None) -> str:
    path = f"/channels/{_quoted(channel_id)}/posts"
    return path if post_id is None else f"{path}/{_quoted(post_id)}"


def _quoted(part: str) -> str:
    return quote(part, safe="")
