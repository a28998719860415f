"""The tables in the documentation are what the plugins say."""

from __future__ import annotations

from docs.generate import ROOT, documents


def test_tables_are_current() -> None:
    stale = [str(path.relative_to(ROOT)) for path, text in documents() if path.read_text(encoding="utf-8") != text]
    assert not stale, f"out of date: {', '.join(stale)}; run `make docs`"
