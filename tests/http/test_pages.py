from __future__ import annotations

import itertools
import traceback
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from singer_http.http.errors import ApiError, MalformedAnswerError
from singer_http.reading.pages import IDLE_PAGES, LoopGuard, Page, Slice

PATH = "/leads"
FULL = b'[{"id":"a"}]'


def page(records: bytes, following: str | None = None) -> Page:
    return Page(records=msgspec.Raw(records), next=following)


@given(
    blanks=st.tuples(*[st.text(" \t\r\n", max_size=90)] * 2),
    records=st.lists(st.just(b'{"id":"x"}') | st.just(b"{}") | st.just(b"null") | st.just(b"0"), max_size=20),
)
def test_a_page_is_empty_when_it_holds_nothing(blanks: tuple[str, str], records: list[bytes]) -> None:
    before, after = (text.encode() for text in blanks)
    assert page(b"[" + before + b",".join(records) + after + b"]").is_empty == (not records)


@pytest.mark.parametrize(
    "records",
    [b"null", b'[null,"hush"]', b'["hush"]', b'[{"id":"hush"},[]]', b'{"hush":1}', b'[{"a":\xff,"b":"hush"}]', b"[{]"],
)
def test_what_is_no_record_is_refused_without_being_repeated(records: bytes) -> None:
    with pytest.raises(MalformedAnswerError) as raised:
        page(records).decode()
    assert "hush" not in "".join(traceback.format_exception(raised.value))


def test_each_decoding_makes_new_records() -> None:
    one = page(FULL)
    one.decode()[0]["id"] = "changed"
    assert one.decode() == [{"id": "a"}]


def test_a_guard_ends_where_the_list_ends() -> None:
    guard = LoopGuard(None)
    assert guard.follow(page(FULL, "1"), PATH) == "1"
    assert guard.follow(page(FULL, "2"), PATH) == "2"
    assert guard.follow(page(FULL), PATH) is None


@given(back=st.integers(0, 8), length=st.integers(1, 9), resumed=st.booleans())
def test_no_way_back_is_followed(back: int, length: int, *, resumed: bool) -> None:
    guard = LoopGuard("0" if resumed else None)
    seen = ["0"] if resumed else []
    for number in range(1, length + 1):
        seen.append(str(number))
        assert guard.follow(page(FULL, str(number)), PATH) == str(number)
    with pytest.raises(ApiError, match=PATH):
        guard.follow(page(FULL, seen[back % len(seen)]), PATH)


def test_an_empty_cursor_is_a_cursor_like_any_other() -> None:
    guard = LoopGuard(None)
    assert guard.follow(page(FULL, ""), PATH) == ""
    with pytest.raises(ApiError, match="the same cursor twice"):
        guard.follow(page(FULL, ""), PATH)


@pytest.mark.parametrize("contents", [[b"[]"], [b"[]", b"[ ]", b"[\n]"], [FULL], [FULL, b'[{"id":"b"}]', b"[]"]])
def test_pages_with_nothing_new_go_on_but_not_for_ever(contents: list[bytes]) -> None:
    guard = LoopGuard(None)
    for number, content in enumerate(contents):
        guard.follow(page(content, f"first{number}"), PATH)
    guard.follow(page(b'[{"id":"new"}]', "new"), PATH)
    pages = itertools.cycle(contents)
    for number in range(IDLE_PAGES - 1):
        assert guard.follow(page(next(pages), f"a{number}"), PATH) == f"a{number}"
    assert guard.follow(page(b'[{"id":"newer"}]', "newer"), PATH) == "newer"  # begins the count anew
    for number in range(IDLE_PAGES - 1):
        assert guard.follow(page(next(pages), f"b{number}"), PATH) == f"b{number}"
    with pytest.raises(ApiError, match=f"{PATH}.* nothing new"):
        guard.follow(page(next(pages), "last"), PATH)


def test_parts_of_a_list_may_be_empty_or_like_each_other() -> None:
    guard = LoopGuard(None)
    for number in range(3 * IDLE_PAGES):
        assert guard.follow(replace(page(b"[]", str(number)), is_last_of_part=True), PATH) == str(number)


def test_a_slice_asks_for_its_cursor_beside_its_own_query() -> None:
    params: dict[str, str | int] = {"limit": 2, "organizationId": "o1"}
    slice_ = Slice("leads", {"organizationId": "o1"}, "/leads", params, "cursor", None, lambda body: page(body, None))
    assert slice_.query(None) == {"limit": 2, "organizationId": "o1"}
    assert slice_.query("x") == {"limit": 2, "organizationId": "o1", "cursor": "x"}
    assert params == {"limit": 2, "organizationId": "o1"}
    assert slice_.label == "leads (organizationId o1)"
