import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_sandbox import Fault, Forbidden, HustleScenario, Scenario, ScenarioError, load_scenario, serve_in_thread

CONTENT = {
    "seed": 7,
    "hustle": {
        "organizations": 5,
        "leads": 400,
        "lead_shares": [3, 1.5],
        "requests_per_second": None,
        "forbidden": [{"path": "/tags", "organizations": [1]}],
    },
    "faults": [{"kind": "status", "organization": "abc", "nth": [2], "status": 502}],
}
SCENARIO = Scenario(
    seed=7,
    hustle=HustleScenario(
        organizations=5,
        leads=400,
        lead_shares=(3.0, 1.5),
        requests_per_second=None,
        forbidden=(Forbidden(path="/tags", organizations=(1,)),),
    ),
    faults=(Fault(kind="status", organization="abc", nth=(2,), status=502),),
)


@pytest.mark.parametrize(("name", "write"), [("a.yml", yaml.safe_dump), ("a.json", json.dumps)])
def test_a_file_is_read(tmp_path: Path, name: str, write: Any) -> None:
    path = tmp_path / name
    path.write_text(write(CONTENT))
    assert load_scenario(path) == SCENARIO


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    path = tmp_path / "empty.yml"
    path.touch()
    assert load_scenario(path) == Scenario()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("hustle: {leeds: 3}", "unknown field `leeds`"),
        ("hustle: {leads: -3}", r"`int` >= 0 - at `\$\.hustle\.leads`"),
        ("hustle: {leads: '3'}", r"Expected `int`, got `str` - at `\$\.hustle\.leads`"),
        ("hustle: {cursors: round}", "Invalid enum value 'round'"),
        ("hustle: {groups: 0}", r"agents need groups.*at `\$\.hustle`"),
        ("hustle: {organizations: 1, empty_organizations: 2}", "empty_organizations is more"),
        ("hustle: {organizations: 1, empty_organizations: 1}", "leads need an organization"),
        ("hustle: {organizations: 1, lead_shares: [1, 2]}", "more weights"),
        ("hustle: {lead_shares: [0]}", "no weight above 0"),
        ("harkster: {accounts: []}", r"accounts need a channel.*at `\$\.harkster`"),
        ("faults: [{kind: slow}]", r"a slow fault needs.*at `\$\.faults\[0\]`"),
        ("[1, 2]", "Expected `object`, got `array`"),
        ("a: [", "expected the node content"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_and_the_place(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "wrong.yml"
    path.write_text(content)
    with pytest.raises(ScenarioError, match=reason) as refused:
        load_scenario(path)
    assert str(path) in str(refused.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"nowhere\.yml"):
        load_scenario(tmp_path / "nowhere.yml")


def test_bounds_hold_for_scenarios_built_in_python() -> None:
    with pytest.raises(ScenarioError, match="leads"), serve_in_thread(Scenario(hustle=HustleScenario(leads=-1))):
        pass
