"""Eight runs that log in with one refresh token at the same moment, of which one is killed, wherever that is.

No token is exchanged twice. The others go on. If the vendor has taken the old token and the new one is nowhere, they
go on with the access token that there is, or end with the sentence that says so.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec
import pytest
from api_sandbox import Fault
from api_sandbox.api import Refused
from api_sandbox.hubstaff.tokens import TokenDesk
from singer_http.http.clock import Clock

from tests.hubstaff.kill_points import KILL_POINTS, LOST, SHARED_KILL_POINTS
from tests.hubstaff.racing_runs import SENDER, Line, Outcome, Race, store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from api_sandbox import RunningSandbox

    from demo.postgres import Postgres

    Serve = Callable[..., RunningSandbox]

RUNS = 8
FEW = 4
"""So many lines are tried in the suite, out of more than a hundred: ``make lives`` tries them all."""
DUE = 13 * 3600
"""Seconds after which an access token is exchanged that still works."""
HOLD = Fault(kind="hold", path="/access_tokens", times=1)
HELD = {
    "request held, and dropped": (HOLD, Fault(kind="reset", path="/access_tokens", committed=False, times=1)),
    "answer held": (HOLD,),
}
"""What the vendor does with the request of the run that is killed then."""


@dataclass
class Races:
    """Holds races, each with a new token.

    Attributes:
        server: Forks the runs.
        sandbox: What they log in to: it revokes everything where a token is used twice.
        postgres: What keeps the tokens; None for a file.
        sent: The refresh tokens that reached the vendor, and whether it gave new ones for them.
    """

    server: subprocess.Popen[str]
    sandbox: RunningSandbox
    folder: Path
    postgres: Postgres | None
    sent: list[tuple[str, bool]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    def race(self, *, is_due: bool, **place: Any) -> bool:
        """Have eight runs log in, of which one is killed; gives whether the vendor's new token was lost.

        Args:
            is_due: Whether there is an access token, and it is time for the next.
            place: Where it is killed.
        """
        race = self._begin(is_due=is_due)
        before = store(race, Clock()).read()
        self.sent.clear()
        others = self._run(msgspec.structs.replace(race, **place))
        # Some lines are for those that wait, and there may be none.
        assert len(others) == RUNS - 1 or ("line" in place and len(others) == RUNS), place
        kept = store(race, Clock()).read()
        found = {(one.access_token, one.error) for one in others}
        is_lost = kept.refresh_token != self.sandbox.hubstaff.current_refresh_token()
        exchanged = (before.refresh_token, True)
        if not is_lost:
            assert self.sent in ([], [exchanged]), place
            assert found == {(kept.access_token, "")}, place
        elif is_due:  # another try would have ended the access token too
            assert self.sent == [exchanged], place
            assert found == {(before.access_token, "")}, place
        else:
            assert self.sent == [exchanged, (before.refresh_token, False)], place
            ((token, sentence),) = found
            assert token == "", place
            assert "ended before it could keep the new one, which Hubstaff gives only once. Create a new" in sentence
        return is_lost

    def lines(self, *, is_due: bool) -> list[Line]:
        """The lines that the runs come to if none is killed."""
        race = self._begin(is_due=is_due)
        return sorted({line for one in self._run(msgspec.structs.replace(race, is_traced=True)) for line in one.lines})

    def _begin(self, *, is_due: bool) -> Race:
        self.sandbox.hubstaff.reset_tokens()
        folder = self.folder / str(next(self._numbers))
        folder.mkdir()
        url = ""
        if self.postgres is not None:
            url = self.postgres.sqlalchemy_url
            with self.postgres.connect() as connection:
                connection.execute("DROP TABLE IF EXISTS singer_tokens")
        hubstaff = self.sandbox.hubstaff
        race = Race(hubstaff.auth_url, hubstaff.personal_access_token, str(folder), url, RUNS)
        if is_due:
            self._run(msgspec.structs.replace(race, runs=1))
            race.ahead = DUE
        return race

    def _run(self, race: Race) -> list[Outcome]:
        """What came of the runs that were not killed."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.sandbox.faults.replace(*HELD.get(race.point, ()))
        print(msgspec.json.encode(race).decode(), file=self.server.stdin, flush=True)
        if race.point in HELD:
            self.sandbox.faults.wait_until_held()
            os.kill(int(Path(race.folder, SENDER).read_text(encoding="utf-8")), signal.SIGKILL)
            self.sandbox.faults.clear()
        codes: list[int] = msgspec.json.decode(self.server.stdout.readline())
        assert set(codes) <= {0, -signal.SIGKILL}, race
        left = [Path(race.folder, f"{number}.json") for number, code in enumerate(codes) if code == 0]
        return [msgspec.json.decode(path.read_bytes(), type=Outcome) for path in left]


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.hubstaff.racing_runs"],
        cwd=Path(__file__).parents[2],
        env={"PATH": os.environ["PATH"]},  # certificates that it names would be read by each run
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
    assert process.returncode == 0


@pytest.fixture(params=["file", "database"])
def races(
    request: pytest.FixtureRequest, server: subprocess.Popen[str], serve: Serve, tmp_path: Path
) -> Iterator[Races]:
    postgres = request.getfixturevalue("postgres") if request.param == "database" else None
    sandbox = serve(reuse="revoke", history_days=1, organizations=1, shared_members=0)
    made = Races(server, sandbox, tmp_path, postgres)
    rotate = TokenDesk._rotate

    def recorded(desk: TokenDesk, kind: str, token: str) -> dict[str, Any]:
        try:
            answer = rotate(desk, kind, token)
        except Refused:
            made.sent.append((token, False))
            raise
        made.sent.append((token, True))
        return answer

    with mock.patch.object(TokenDesk, "_rotate", recorded):
        yield made


@pytest.fixture(params=[False, True], ids=["first token", "next token"])
def is_due(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_one_of_eight_is_killed_at_any_point(races: Races, *, is_due: bool) -> None:
    points = [*(KILL_POINTS if races.postgres is None else SHARED_KILL_POINTS), *HELD]
    lost = {point for point in points if races.race(is_due=is_due, point=point)}
    assert lost == {*points} & {*LOST, "answer held"}


def test_lives_of_eight_of_which_one_is_killed_at_any_line(races: Races, *, is_due: bool) -> None:
    lines = races.lines(is_due=is_due)
    for line in lines if "LIVES" in os.environ else lines[:: len(lines) // FEW]:
        races.race(is_due=is_due, line=line)
