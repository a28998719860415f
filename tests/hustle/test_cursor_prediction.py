"""Cursors that follow a pattern, and those that do not."""

from __future__ import annotations

import base64

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tap_hustle.cursor_prediction import predicted_cursor


def encoded(text: str, *, urlsafe: bool = True, padded: bool = False) -> str:
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    cursor = encode(text.encode()).decode()
    return cursor if padded else cursor.rstrip("=")


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        ("WzEsMV0", "WzIsMV0", "WzMsMV0"),  # the vendor's own: [1,1], [2,1]
        (encoded("[9,1000]"), encoded("[10,1000]"), encoded("[11,1000]")),
        (encoded("[1000,1000]"), encoded("[2000,1000]"), encoded("[3000,1000]")),
        ("page-1", "page-2", "page-3"),
        ("100", "200", "300"),
        ("0001", "0002", "0003"),
        ("0099", "0100", "0101"),
        ("20", "10", "0"),
        (encoded('{"after":7,"of":3}'), encoded('{"after":14,"of":3}'), encoded('{"after":21,"of":3}')),
    ],
)
def test_patterns_go_on(earlier: str, later: str, expected: str) -> None:
    assert predicted_cursor(earlier, later) == expected


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("abc", "abd"),
        ("WzEsMV0", "WzEsMV0"),
        ("10", "3"),  # would go below zero
        ("a1", "b2"),
        ("1-2", "1-2-3"),
        ("", ""),
        ("eyJrIjoxfQ", "not base64 %%"),
        ("tz5Kd0wVQw", "Qm9vbSEhIQ"),
        ("1" * 5000, "2" * 5000),  # more digits than Python reads
    ],
)
def test_no_pattern_no_guess(earlier: str, later: str) -> None:
    assert predicted_cursor(earlier, later) is None


@given(
    numbers=st.lists(st.tuples(st.integers(0, 10**15), st.integers(0, 10**6)), min_size=1, max_size=4),
    texts=st.lists(st.text(alphabet='[],:{}" abcxyz-', max_size=4), min_size=5, max_size=5),
    form=st.sampled_from(["plain", "urlsafe", "urlsafe padded", "standard", "standard padded"]),
)
def test_any_arithmetic_sequence_is_continued(numbers: list[tuple[int, int]], texts: list[str], form: str) -> None:
    assume(any(step for _, step in numbers))
    # Digits must not touch, or they are read as one number.
    texts = [text or "," for text in texts]

    def cursor(turn: int) -> str:
        parts = [f"{text}{start + turn * step}" for text, (start, step) in zip(texts, numbers, strict=False)]
        text = "".join(parts) + texts[-1]
        if form == "plain":
            return text
        return encoded(text, urlsafe=form.startswith("urlsafe"), padded=form.endswith("padded"))

    guess = predicted_cursor(cursor(0), cursor(1))
    if "=" in cursor(0) + cursor(1):
        assert guess == cursor(2)
    else:  # whether the third would be padded cannot be known
        assert (guess or "").rstrip("=") == cursor(2).rstrip("=")


@given(earlier=st.text(max_size=40), later=st.text(max_size=40))
def test_any_two_strings_are_answered(earlier: str, later: str) -> None:
    guess = predicted_cursor(earlier, later)
    assert guess is None or guess != later


@given(earlier=st.binary(min_size=6, max_size=30), later=st.binary(min_size=6, max_size=30))
def test_a_guess_is_the_same_when_asked_again(earlier: bytes, later: bytes) -> None:
    first, second = (base64.urlsafe_b64encode(cursor).decode() for cursor in (earlier, later))
    assert predicted_cursor(first, second) == predicted_cursor(first, second)
