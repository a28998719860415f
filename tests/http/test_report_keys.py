"""Checksums of keys: each key counts once, in any order, and what was sent as deleted is no row."""

from __future__ import annotations

import datetime as dt
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from singer_http.report.document import Keys
from singer_http.report.keys import distinct, hasher
from singer_http.report.tally import SentRows

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.timezone.utc)


@pytest.mark.parametrize("number", [0, 1, 100, 30_000])
def test_repeats_and_order_change_nothing(number: int) -> None:
    of_id = hasher(["id"], {})
    hashes = [of_id({"id": each}) for each in range(number)]
    once = distinct([array("Q", hashes)])
    half = number // 2
    assert once.count == number
    assert distinct([array("Q", reversed(hashes)), array("Q", hashes[:half])]) == once
    assert distinct([array("Q", hashes[half:]), array("Q", hashes[: half + 1])]) == once
    others = array("Q", [of_id({"id": str(each) + "x"}) for each in range(number)])
    assert (distinct([others]) == once) is (number == 0)


@given(st.lists(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1)))
def test_the_last_word_on_a_key_counts(pages: list[list[tuple[int, bool]]]) -> None:
    sent, alive = SentRows(), dict[int, bool]()
    for page in pages:
        sent.add(NOW, [key for key, _ in page], [is_gone for _, is_gone in page])
        alive |= {key: not is_gone for key, is_gone in page}
    left = [key for key, is_there in alive.items() if is_there]
    assert distinct([sent.hashes], sent.gone) == Keys(len(left), f"{sum(left):016x}")
    assert sent.deleted == sum(is_gone for page in pages for _, is_gone in page)


@pytest.mark.parametrize(
    ("left", "right", "properties"),
    [
        ({"id": 7}, {"id": "7"}, {}),
        ({"id": True}, {"id": "true"}, {}),
        ({"id": "2026-03-01T10:00:00Z"}, {"id": "2026-03-01T10:00:00.000+02:00"}, {"id": {"format": "date-time"}}),
        ({"id": "no time"}, {"id": "no time"}, {"id": {"format": "date-time"}}),
    ],
)
def test_values_that_a_table_cannot_tell_apart(
    left: dict[str, Any], right: dict[str, Any], properties: dict[str, Any]
) -> None:
    assert hasher(["id"], properties)(left) == hasher(["id"], properties)(right)


def test_the_values_of_a_composite_key_do_not_run_together() -> None:
    of_both = hasher(["a", "b"], {})
    assert len({of_both({"a": a, "b": b}) for a, b in [("x", "yz"), ("xy", "z"), ("", "xyz"), ("yz", "x")]}) == 4
