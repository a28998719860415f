"""What docs/scale.md says that an organization costs is what the sandbox counts."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

from api_sandbox import HubstaffScenario, HustleScenario, RunningSandbox, Scenario, serve_in_thread
from tap_hubstaff.all_streams import STREAMS

from tests.documents.blocks import ROOT
from tests.hubstaff.conftest import NOW
from tests.hubstaff.reading import SandboxClock, read

if TYPE_CHECKING:
    from pathlib import Path

ORGANIZATIONS = 3
EVERYTHING_ELSE_ONCE_A_DAY = {"*": 24 * 3600, "activities": 0, "daily_activities": 0}


def costs(first_line: str) -> list[int]:
    """The numbers of the table in docs/scale.md that begins with a line."""
    _, _, behind = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8").partition(f"| {first_line} | requests |\n")
    table, _, _ = behind.partition("\n\n")
    return [int(number.replace(",", "")) for number in re.findall(r"([\d,]+) \|$", table, re.MULTILINE)]


def served(sandbox: RunningSandbox) -> int:
    """The requests for resources that it has answered."""
    return sum(sum(found.values()) for path, found in sandbox.report().outcomes.items() if "token" not in path)


def test_an_organization_of_hubstaff(tmp_path: Path) -> None:
    each_run, *each_organization = costs(f"tap-hubstaff, all {len(STREAMS)} streams")
    scenario = HubstaffScenario(
        now=NOW,
        clock="stopped",
        organizations=ORGANIZATIONS,
        members=5,
        shared_members=0,
        history_days=40,
        requests_per_hour=None,
    )
    with serve_in_thread(Scenario(hubstaff=scenario)) as sandbox:
        config = {
            "access_token": sandbox.hubstaff.organization_token,
            "api_url": sandbox.hubstaff.api_url,
            "token_path": str(tmp_path),
            "requests_per_hour": 1_000_000,
        }
        state, found = None, []
        for refresh in ({}, {}, EVERYTHING_ELSE_ONCE_A_DAY):
            before = served(sandbox)
            run = read(SandboxClock(sandbox.hubstaff), {**config, "refresh": refresh}, state, ())
            assert run.code == 0, run.said("ERROR")
            state = run.states[-1]
            found.append(served(sandbox) - before)
            sandbox.hubstaff.advance(1200)
    assert found == [each_run + ORGANIZATIONS * each for each in each_organization]


def test_an_organization_of_hustle(programs: Path, tmp_path: Path) -> None:
    each_run, each_organization, each_million = costs("tap-hustle, all streams")
    scenario = HustleScenario(organizations=ORGANIZATIONS, leads=ORGANIZATIONS, requests_per_second=None)
    with serve_in_thread(Scenario(hustle=scenario)) as sandbox:
        config = tmp_path / "config.json"
        config.write_text(
            json.dumps(
                {
                    "client_id": sandbox.hustle.client_id,
                    "client_secret": sandbox.hustle.client_secret,
                    "api_url": sandbox.hustle.api_url,
                    "auth_url": sandbox.hustle.auth_url,
                }
            )
        )
        subprocess.run([programs / "tap-hustle", "--config", config], check=True, capture_output=True, cwd=tmp_path)
        found = served(sandbox)
    assert found == each_run + ORGANIZATIONS * each_organization
    assert each_million == 1_000_000 / 1000  # of a page
