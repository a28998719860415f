"""Requests, of which Hubstaff allows 1,000 an hour: ours beside the best fixed windows, full pages and the peers."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import math
import os
import sys
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from api_sandbox import HubstaffScenario, RunningSandbox, Scenario, serve_in_thread
from singer_http.http.clock import Clock
from tap_hubstaff.all_streams import STREAMS
from tap_hubstaff.streams.list_streams import ALL_TASKS
from tap_hubstaff.streams.window_base import WindowStream
from tap_hubstaff.tap import TapHubstaff
from tap_hubstaff.work_sessions.stream import TimeSessions
from typing_extensions import override

from bench import report
from bench.hubstaff_windows import ACCOUNTS, beside_full_pages
from bench.measure import run
from bench.programs import HERE, PEERS_PYTHON

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

DAYS = 400
PAGE = 500
DEFAULT_PAGE = 100
"""The vendor's, where nothing is asked for."""
NOW = dt.datetime(2026, 3, 31, 12, 30, tzinfo=dt.timezone.utc)
SHAPE: Mapping[str, Any] = {"organizations": 1, "shared_members": 0, "members": 40, "projects": 30, "tasks": 200}
LARGE = 10
"""Full pages that make a stream a large one."""
FULL_PAGES = 1.12
FULL_SYNC = 345
IDLE = 41
LISTS: Mapping[str, Mapping[str, str]] = {
    "members": {"include_removed": "true"},
    "projects": {"status": "all"},
    "tasks": {"status": ALL_TASKS},
}
COMPARED = (
    "daily_activities",
    "activities",
    "time_edit_logs",
    "notes",
    "daily_tool_usages",
    "tool_usages",
    "screenshots",
    "locations",
)
PATIENCE = 900.0


class StoppedClock(Clock):
    """The time of the scenario: the same in every run, so that the counts are."""

    def __init__(self) -> None:
        self.at = NOW.timestamp()

    @override
    def monotonic(self) -> float:
        return self.at

    @override
    def time(self) -> float:
        return self.at

    @override
    def sleep(self, seconds: float) -> None:
        self.at += seconds

    @override
    def check(self) -> None:
        pass

    @override
    def stop(self) -> None:
        pass


@dataclass(frozen=True)
class Windows:
    """What the rows of one stream come to in requests.

    Attributes:
        stream: The stream.
        rows: How many there are within the vendor's reach.
        ours: Requests that the tap took.
        fixed: Requests by the length of the windows, in days.
    """

    stream: type[WindowStream]
    rows: int
    ours: int
    fixed: Mapping[int, int]

    @property
    def name(self) -> str:
        return _name(self.stream)

    @property
    def full(self) -> int:
        return max(1, math.ceil(self.rows / PAGE))

    @property
    def best(self) -> int:
        return min(self.fixed.values())

    @property
    def is_large(self) -> bool:
        return self.full >= LARGE


def section(directory: Path, runs: int) -> str:  # noqa: ARG001 - requests are the same in every run
    """Measure, and tell of it."""
    logging.disable(logging.WARNING)
    scenario = HubstaffScenario(**SHAPE, history_days=DAYS, now=NOW, clock="stopped", requests_per_hour=None)
    with serve_in_thread(Scenario(hubstaff=scenario)) as sandbox:
        clock = StoppedClock()
        state, whole = _ours(sandbox, clock, directory, None, None)
        windows = [_windows(sandbox, stream, whole) for stream in _windowed()]
        sandbox.hubstaff.advance(1200)
        clock.at += 1200
        _, again = _ours(sandbox, clock, directory, state, None)
        (organization,) = sandbox.hubstaff.ids("organizations")
        _ours(sandbox, StoppedClock(), directory, None, ("organizations", *LISTS, *COMPARED))
        programs: dict[str, tuple[int, int] | None] = {"tap-hubstaff": _taken(sandbox)}
        config = _peer_config(sandbox, organization)
        for name in ("dlt rest_api", "airbyte-cdk low-code"):
            programs[name] = _taken(sandbox) if _peer(sandbox, name, config, directory) else None
    mean = beside_full_pages((one.stream for one in windows if one.is_large), SHAPE, NOW, _begin(), PAGE)
    logging.disable(logging.NOTSET)
    return _told(windows, mean, whole.total(), again.total(), programs)


def _name(stream: type[WindowStream]) -> str:
    return str(vars(stream)["name"])


def _windowed() -> Iterator[type[WindowStream]]:
    for stream in STREAMS:
        if issubclass(stream, WindowStream) and stream is not TimeSessions and stream.spec.longest:
            yield stream


def _ours(
    sandbox: RunningSandbox, clock: Clock, directory: Path, state: Any, streams: Iterable[str] | None
) -> tuple[Any, Counter[str]]:
    """Run the tap, and give its last STATE and the requests that the sandbox had, by list."""
    sandbox.reset()
    hubstaff = sandbox.hubstaff
    config = {
        "access_token": hubstaff.organization_token,
        "api_url": hubstaff.api_url,
        "token_path": str(directory / "tokens"),
        "requests_per_hour": 1_000_000,
        "start_date": _begin().isoformat(),
    }
    tap = TapHubstaff(config=config, state=state, clock=clock)
    for name, stream in tap.streams.items():
        stream.selected = streams is None or name in streams
    messages = directory / "messages.jsonl"
    with messages.open("w", encoding="utf-8") as out, contextlib.redirect_stdout(out):
        tap.sync_all()
    with messages.open("rb") as lines:
        last = next(iter(deque((line for line in lines if b'"type":"STATE"' in line), maxlen=1)))
    return json.loads(last)["value"], _requests(sandbox)


def _requests(sandbox: RunningSandbox) -> Counter[str]:
    outcomes = sandbox.report().outcomes
    return Counter({path.partition("/v2/")[2]: sum(found.values()) for path, found in outcomes.items()})


def _begin() -> dt.datetime:
    return (NOW - dt.timedelta(days=DAYS)).replace(hour=0, minute=0)


def _windows(sandbox: RunningSandbox, stream: type[WindowStream], requests: Counter[str]) -> Windows:
    """Count from the sandbox's truth what windows of each fixed length would take."""
    name, spec = _name(stream), stream.spec
    (organization,) = sandbox.hubstaff.ids("organizations")
    begin = max(_begin(), spec.earliest(NOW))
    times = sorted(
        time
        for row in sandbox.hubstaff.records(name)
        if (time := dt.datetime.fromisoformat(row[spec.field].replace("Z", "+00:00")).replace(tzinfo=dt.timezone.utc))
        >= begin
    )
    days = Counter((time - begin) // dt.timedelta(days=1) for time in times)
    last = max(days, default=0) + 1
    fixed = {
        length: sum(
            max(1, math.ceil(sum(days[day] for day in range(first, first + length)) / PAGE))
            for first in range(0, last, length)
        )
        for length in range(1, (spec.longest or 1) + 1)
    }
    path = stream.path.format(organization_id=organization).lstrip("/")
    return Windows(stream, len(times), requests[path], fixed)


def _peer_config(sandbox: RunningSandbox, organization: str) -> dict[str, Any]:
    windowed = {}
    for stream in _windowed():
        name, spec = _name(stream), stream.spec
        if name in COMPARED:
            begin = max(_begin(), spec.earliest(NOW) + dt.timedelta(days=1)).replace(hour=0, minute=0, tzinfo=None)
            windowed[name] = {
                "path": stream.path.partition("{organization_id}/")[2],
                "filter": spec.name,
                "field": spec.field,
                "days": spec.longest,
                "by_day": spec.by_day,
                "begin": begin.isoformat(),
            }
    return {
        "api_url": sandbox.hubstaff.api_url,
        "access_token": sandbox.hubstaff.organization_token,
        "organization": organization,
        "page_limit": PAGE,
        "end": NOW.replace(tzinfo=None).isoformat(),
        "lists": LISTS,
        "windowed": windowed,
    }


def _taken(sandbox: RunningSandbox) -> tuple[int, int]:
    """Requests since the last reset, and the different rows of the compared lists that they brought."""
    served = sandbox.report().served
    rows = sum(len(ids) for stream, ids in served.items() if stream.rpartition("/")[2] in {*LISTS, *COMPARED})
    return _requests(sandbox).total(), rows


def _peer(sandbox: RunningSandbox, name: str, config: Mapping[str, Any], directory: Path) -> bool:
    """Run a peer, and tell whether it came to its end."""
    sandbox.reset()
    own = directory / name.partition(" ")[0]
    own.mkdir()
    (own / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if name.startswith("dlt"):
        command = ["dlt_hubstaff.py", str(own / "config.json"), str(own / "data")]
    else:
        streams = [
            {
                "stream": {"name": stream, "json_schema": {}, "supported_sync_modes": ["full_refresh", "incremental"]},
                "sync_mode": "incremental" if stream in config["windowed"] else "full_refresh",
                "destination_sync_mode": "overwrite",
            }
            for stream in (*config["lists"], *config["windowed"])
        ]
        (own / "catalog.json").write_text(json.dumps({"streams": streams}), encoding="utf-8")
        files = ["--config", str(own / "config.json"), "--catalog", str(own / "catalog.json")]
        command = ["airbyte_hubstaff.py", "read", *files]
    used = run(
        [str(PEERS_PYTHON), str(HERE / "peers" / command[0]), *command[1:]],
        output=own / "output.jsonl",
        log=own / "log.txt",
        env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(own), "RUNTIME__DLTHUB_TELEMETRY": "false"},
        patience=PATIENCE,
    )
    if used.exit_code != 0:
        with contextlib.suppress(OSError):
            print((own / "log.txt").read_text(encoding="utf-8")[-3000:], file=sys.stderr)
    return used.exit_code == 0


def _told(
    windows: list[Windows], mean: float, whole: int, again: int, programs: Mapping[str, tuple[int, int] | None]
) -> str:
    default = sum(math.ceil(one.rows / DEFAULT_PAGE) for one in windows if one.name in COMPARED)
    streams = f"""\
All {len(STREAMS)} streams of one organization, in pages of {PAGE}, on a clock that stands still. What windows of each
fixed length would take, and what completely full pages would, is counted from the sandbox's truth; the best length is
known afterwards only. A stream of {LARGE} full pages and more is a large one."""
    side = f"""\
Side by side: {", ".join((*LISTS, *COMPARED))}.
The peers read fixed windows as long as Hubstaff takes them, from the first whole day within its reach on, in pages of
{PAGE} too; with the API's default of {DEFAULT_PAGE} even full pages of the windowed lists would be {default}. Ours asks
besides for the organizations, and for the role of the credentials."""
    title = f"### Hubstaff: requests of a full sync, {DAYS} days, 40 members, 30 projects, 200 tasks"
    tables = (_of_streams(windows), _of_goals(windows, mean, whole, again), _of_programs(programs))
    lengths, goals, taken = map(report.written, tables)
    return f"{title}\n\n{streams}\n\n{lengths}\n\n{goals}\n\n{side}\n\n{taken}"


def _of_streams(windows: list[Windows]) -> report.Table:
    rows: report.Table = [("stream", "rows", "ours", "best fixed", "longest windows", "full pages", "ours to full")]
    for one in sorted(windows, key=lambda one: -one.rows):
        best = min(one.fixed, key=lambda length: one.fixed[length])
        fixed = f"{one.best} ({best} days)", str(one.fixed[max(one.fixed)])
        rows.append((one.name, f"{one.rows:,}", str(one.ours), *fixed, str(one.full), f"{one.ours / one.full:.2f}x"))
    return rows


def _of_goals(windows: list[Windows], mean: float, whole: int, again: int) -> report.Table:
    fixed = whole + sum(one.best - one.ours for one in windows)
    return [
        report.GOAL_HEAD,
        report.of_goal(f"a full sync: at most {FULL_SYNC}", str(whole), is_met=whole <= FULL_SYNC),
        report.of_goal(
            "no more than with the best fixed length for each stream", f"{whole} to {fixed}", is_met=whole <= fixed
        ),
        report.of_goal(
            f"large streams: at most {FULL_PAGES}x completely full pages, in the mean of {ACCOUNTS} accounts",
            f"{mean:.3f}x",
            is_met=mean <= FULL_PAGES,
        ),
        report.of_goal(
            f"a run with nothing new: at most {IDLE}", f"{again} for {len(STREAMS)} streams", is_met=again <= IDLE
        ),
    ]


def _of_programs(programs: Mapping[str, tuple[int, int] | None]) -> report.Table:
    ours = programs["tap-hubstaff"] or (1, 0)
    rows: report.Table = [("program", "requests", "times ours", "rows")]
    for name, taken in programs.items():
        told = (
            ("did not end", "", "") if taken is None else (str(taken[0]), f"{taken[0] / ours[0]:.2f}x", f"{taken[1]:,}")
        )
        rows.append((name, *told))
    return rows
