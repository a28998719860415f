"""The wheels and the Hub's definitions as a user has them: in an empty folder, without this checkout.

Installing takes what the plugins stand on from a package index. So these tests run by `make install-test` alone,
which builds the wheels first.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from demo.comparison import compare_hubstaff, compare_hustle
from demo.processes import PATH_WITH_SCRIPTS
from demo.sandbox import running_sandbox
from docs.hub import HUB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from demo.postgres import Postgres
    from demo.sandbox import Sandbox

WHEELS = os.environ.get("WHEELS")
pytestmark = pytest.mark.skipif(WHEELS is None, reason="make install-test builds the wheels and installs them")

# The user's own settings, with which Meltano or a plugin might talk to something real.
FOREIGN_PREFIXES = ("MELTANO_", "TAP_", "TARGET_", "SINGER_", "AIRFLOW_", "PG")
PLUGINS = ("tap-hustle", "tap-hubstaff", "target-harkster")
SMALL = {"hustle": {"organizations": 2, "leads": 50}, "hubstaff": {"organizations": 1, "history_days": 14}}
LOADER = {
    "name": "target-postgres",
    "namespace": "target_postgres",
    "pip_url": "meltanolabs-target-postgres",
    "executable": "target-postgres",
    "settings": [{"name": "sqlalchemy_url", "sensitive": True}, {"name": "default_target_schema"}],
    "config": {"default_target_schema": "${MELTANO_EXTRACT__LOAD_SCHEMA}"},
}


def run(*command: str | Path, cwd: Path, **more: str) -> str:
    """Run a program without this project's environment, and give what it printed."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_PREFIXES)}
    own.pop("VIRTUAL_ENV", None)
    env = {**own, "PATH": PATH_WITH_SCRIPTS, "NO_COLOR": "1", "UV_FIND_LINKS": WHEELS or "", **more}
    done = subprocess.run(
        command, check=False, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("sandbox")
    scenario = folder / "scenario.yml"
    scenario.write_text(yaml.safe_dump(SMALL))
    with running_sandbox(scenario, folder) as running:
        yield running


@pytest.mark.parametrize("plugin", PLUGINS)
def test_each_plugin_installs_alone(plugin: str, tmp_path: Path) -> None:
    run("uv", "venv", "-q", "env", cwd=tmp_path)
    run("uv", "pip", "install", "-q", "--python", "env", plugin, cwd=tmp_path)
    listed = run("uv", "pip", "list", "--python", "env", cwd=tmp_path)
    assert {name for name in (*PLUGINS, "singer-http", "api-sandbox") if name in listed} == {plugin, "singer-http"}
    assert "capabilities" in run(tmp_path / "env" / "bin" / plugin, "--about", "--format=json", cwd=tmp_path)
    (installed,) = tmp_path.glob(f"env/lib/python*/site-packages/{plugin.replace('-', '_')}-*.dist-info")
    assert (installed / "licenses" / "LICENSE").read_text().lstrip().startswith("Apache License")


def test_a_project_of_ones_own_adds_and_runs_them(tmp_path: Path, sandbox: Sandbox, postgres: Postgres) -> None:
    one_way = ("api_url", "auth_url", "personal_access_token", "token_path")
    hubstaff = {name: sandbox.hubstaff[name] for name in one_way} | {"start_date": "3 weeks ago"}
    settings = {"tap-hustle": sandbox.hustle, "tap-hubstaff": hubstaff, "target-harkster": sandbox.harkster}
    variables = {
        f"{plugin}_{name}".replace("-", "_").upper(): value
        for plugin, values in settings.items()
        for name, value in values.items()
    }
    variables |= {"TARGET_POSTGRES_SQLALCHEMY_URL": postgres.sqlalchemy_url, "MELTANO_SEND_ANONYMOUS_USAGE_STATS": "0"}
    run("meltano", "init", "project", cwd=tmp_path, **variables)
    project = tmp_path / "project"
    for plugin in PLUGINS:
        (definition,) = HUB.glob(f"*/{plugin}.yml")
        run("meltano", "add", "--from-ref", definition, plugin, cwd=project, **variables)
    configure(project, "loaders", LOADER)
    run("meltano", "install", cwd=project, **variables)
    run("meltano", "run", "tap-hustle", "target-postgres", cwd=project, **variables)
    run("meltano", "run", "tap-hubstaff", "target-postgres", cwd=project, **variables)
    counts = [*compare_hustle(postgres, sandbox), *compare_hubstaff(postgres, sandbox)]
    assert [count for count in counts if not count.agrees] == []

    select = {"TAP_HUSTLE__SELECT": '["organizations.*"]'}
    run("meltano", "run", "tap-hustle", "target-harkster", cwd=project, **variables, **select)
    assert len(sandbox.posts()) == SMALL["hustle"]["organizations"]


def configure(project: Path, kind: str, plugin: Mapping[str, Any]) -> None:
    """Add a plugin to a Meltano project by hand."""
    file = project / "meltano.yml"
    described = yaml.safe_load(file.read_text())
    described["plugins"].setdefault(kind, []).append(dict(plugin))
    file.write_text(yaml.safe_dump(described, sort_keys=False))
