"""What `make smoke` says of an API, here of the sandbox's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from api_sandbox import Fault, HustleScenario, Scenario, serve_in_thread

from tests.smoke.__main__ import main
from tests.smoke.drift import differences

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("fault", [None, Fault(kind="unknown_fields")])
def test_asks_the_apis_that_have_credentials(
    fault: Fault | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with serve_in_thread(Scenario(hustle=HustleScenario(organizations=2))) as sandbox:
        for name in ("client_id", "client_secret", "api_url"):
            monkeypatch.setenv(f"TAP_HUSTLE_{name.upper()}", getattr(sandbox.hustle, name))
        monkeypatch.setenv("TARGET_HARKSTER_ACCESS_TOKEN", sandbox.harkster.access_token)
        monkeypatch.setenv("TARGET_HARKSTER_API_URL", sandbox.harkster.api_url)
        monkeypatch.setenv("TARGET_HARKSTER_LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")
        if fault:
            sandbox.faults.add(fault)
        with pytest.raises(SystemExit) as ended:
            main()
    hustle, hubstaff, harkster = capsys.readouterr().out.splitlines()
    assert bool(ended.value.code) == bool(fault)
    assert hubstaff.startswith("tap-hubstaff: not asked. ")
    assert harkster == "target-harkster: the API is as the plugin knows it"
    if fault is None:
        assert hustle == "tap-hustle: the API is as the plugin knows it"
    else:
        assert hustle.startswith("tap-hustle: organizations.")
        assert "is unknown" in hustle


def test_a_difference_is_named_without_its_value() -> None:
    text = {"type": ["string", "null"]}
    schema = {"properties": {"a": text, "b": {"items": {"properties": {"c": text}}}}}
    record = {"a": 7, "b": [{"c": None, "secret": "x"}, {"c": []}], "new": "x"}
    assert list(differences(record, schema)) == [
        ".a is not of the type that is documented",
        ".b[].secret is unknown",
        ".b[].c is not of the type that is documented",
        ".new is unknown",
    ]
