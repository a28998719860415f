"""Text and numbers that JSON allows and others do not."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from singer_http.http.errors import MalformedAnswerError
from singer_http.output import BufferedWriter
from singer_http.reading.pages import Page
from singer_http.reading.text import mended, number, without_nul

HALF, OTHER_HALF = "\ud83d", "\ude00"
texts = st.lists(st.characters(codec="utf-8") | st.sampled_from(["\\", '"', "u", "\0", "\ufffd", "d83d"])).map("".join)
halves = st.lists(texts | st.sampled_from([HALF, OTHER_HALF, "\ud800", "\udfff"])).map("".join)


def page(*rows: Any) -> Page:
    return Page(msgspec.Raw(json.dumps(list(rows)).encode()), None)


@given(texts=st.lists(halves))
def test_half_characters_are_replaced_one_by_one(texts: list[str]) -> None:
    body, count = mended(json.dumps(texts).encode())
    found = msgspec.json.decode(body)
    expected = [json.loads(json.dumps(text)) for text in texts]  # which joins two halves that meet
    assert found == [re.sub("[\ud800-\udfff]", "\ufffd", text) for text in expected]
    assert count == sum(len(re.findall("[\ud800-\udfff]", text)) for text in expected)


@given(text=texts, bad=st.sampled_from([b"\xff", b"\xc3", b"\xe2\x82"]))
def test_what_is_no_utf8_is_replaced(text: str, bad: bytes) -> None:
    body, count = mended(json.dumps([text]).encode().replace(b"]", b"") + b', "a' + bad + b'b"]')
    assert msgspec.json.decode(body)[-1] == "a\ufffdb"
    assert count == 1


@given(text=texts)
def test_sound_json_stays_as_it_is(text: str) -> None:
    for body in (json.dumps([text]).encode(), msgspec.json.encode([text])):
        assert mended(body) == (body, 0)


@given(texts=st.lists(texts), ascii_only=st.booleans())
def test_nul_is_dropped_and_nothing_else(texts: list[str], *, ascii_only: bool) -> None:
    body = json.dumps({text: [text] for text in texts}, ensure_ascii=ascii_only).encode()
    bare = {text.replace("\0", ""): [text.replace("\0", "")] for text in texts}
    assert msgspec.json.decode(without_nul(body)) == bare


def test_a_page_is_read_whatever_its_text() -> None:
    rows = [{"a": f"Ann {HALF}", "b": {f"k{OTHER_HALF}": ["x\0y", {"\0": "\0"}]}}, {"a": r"C:\u0000\ud83d"}]
    read = page(*rows)
    assert read.decode() == [{"a": "Ann \ufffd", "b": {"k\ufffd": ["xy", {"": ""}]}}, rows[1]]
    assert read.replaced == 2
    assert page(rows[1], {"a": "x\0y"}).decode(keep_nul=True) == [rows[1], {"a": "x\0y"}]


@pytest.mark.parametrize("body", [b'[{"a": "x]', b"[1]", b'[{"a": \xff}]', b'[{"\\ud83d": }]', b'[{"a": "\0"}]'])
def test_what_is_no_page_is_none(body: bytes) -> None:
    with pytest.raises(MalformedAnswerError):
        Page(msgspec.Raw(body), None).decode()


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "18446744073709551615",
        "18446744073709551616",
        "-1180591620717411303424",
        "123456789012345678901234567890123456789",
        "0.1",
        "-0.30000000000000004",
        "0.12345678901234567890123",
        "1234567890123456.789",
        "1e400",
        "-1E-400",
        "2.5e3",
    ],
)
def test_a_number_is_written_as_the_number_that_it_was(text: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (row,) = Page(msgspec.Raw(f'[{{"n": {text}}}]'.encode()), None).decode()
    writer = BufferedWriter()
    writer.write_records([row])
    writer.flush()
    written = capfdbinary.readouterr().out.decode()
    assert Decimal(written.removeprefix('{"n":').removesuffix("}\n")) == Decimal(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_what_a_float_can_hold_is_a_float(value: float) -> None:
    assert number(repr(value)) == value
    assert isinstance(number(repr(value)), float)


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_no_number_becomes_another(value: Decimal) -> None:
    assert Decimal(str(number(str(value)))) == value
