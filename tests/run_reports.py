"""Reports of runs, as taps write them, for tests of those who read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_http.report.document import FORMAT, Exit, RunReport

if TYPE_CHECKING:
    from collections.abc import Iterable

    from singer_http.report.document import Failure


def run_report(
    reason: str, detail: str | None = None, *, rows: int = 0, requests: int = 0, failures: Iterable[Failure] = ()
) -> RunReport:
    """A run of tap-hustle that ended for a reason."""
    return RunReport(
        format=FORMAT,
        tap="tap-hustle",
        versions={},
        settings="",
        began="2026-03-01T10:00:00+00:00",
        seconds=1.0,
        exit=Exit(reason, detail),
        rows=rows,
        requests=requests,
        throttled=0,
        failures=list(failures),
        warnings=[],
    )
