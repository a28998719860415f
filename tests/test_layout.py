"""The layout that everything relies on: who may import whom, and what installs with what."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    path.parent.name: path.parent
    for path in ROOT.glob("*/*/__init__.py")
    if (path.parents[1] / "pyproject.toml").exists()
}
PLUGINS = sorted(name for name in PACKAGES if name.startswith(("tap_", "target_")))
SHARED = "singer_http"
SANDBOX = "api_sandbox"
REPOSITORY_ONLY = {"demo", "docs", "tests", "bench"}
MAY_IMPORT = {SHARED: set[str](), SANDBOX: set[str](), **{plugin: {SHARED} for plugin in PLUGINS}}


def distribution(package: str) -> str:
    return package.replace("_", "-")


def declared(package: str) -> set[str]:
    """The distributions that a package's own says it needs, extras apart."""
    names = (re.match(r"[\w.-]+", requirement) for requirement in requires(distribution(package)) or ())
    return {re.sub(r"[-_.]+", "-", name[0]).lower() for name in names if name}


def imported(package: str) -> dict[str, Path]:
    """The top-level modules that a package imports, each with a file that does."""
    modules: dict[str, Path] = {}
    for path in sorted(PACKAGES[package].rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0]: path for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                modules[node.module.partition(".")[0]] = path
    return modules


def test_every_package_has_its_place() -> None:
    assert PLUGINS
    assert set(PACKAGES) == set(MAY_IMPORT)


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_imports_go_one_way(package: str) -> None:
    ours = set(PACKAGES) | REPOSITORY_ONLY
    forbidden = ours - {package} - MAY_IMPORT[package]
    assert {name: path for name, path in imported(package).items() if name in forbidden} == {}


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_dependencies_name_no_neighbour(package: str) -> None:
    ours = {distribution(name) for name in PACKAGES}
    assert declared(package) & ours <= {distribution(name) for name in MAY_IMPORT[package]}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 knows packages by their top_level.txt alone")
@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_what_is_imported_is_declared(package: str) -> None:
    installed = packages_distributions()
    outside = set(imported(package)) - set(sys.stdlib_module_names) - set(PACKAGES)
    missing = {
        name for name in outside if not {d.lower().replace("_", "-") for d in installed[name]} & declared(package)
    }
    assert missing == set()


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_nobody_asks_for_the_old_backoff(package: str) -> None:
    # Its module would overwrite the one that singer-sdk brings as python-backoff.
    assert "backoff" not in declared(package)


def test_the_old_backoff_is_not_locked() -> None:
    assert 'name = "backoff"\n' not in (ROOT / "uv.lock").read_text()


def uses(package: str) -> dict[str, set[str]]:
    """The modules of a package, each with those of the same package that it imports, for its types too."""
    root = PACKAGES[package]
    paths = {".".join(path.relative_to(root.parent).with_suffix("").parts): path for path in root.rglob("*.py")}
    paths = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    found = {}
    for name, path in paths.items():
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        names = {f"{node.module}.{alias.name}" for node in imports for alias in node.names}
        found[name] = (names | {str(node.module) for node in imports}) & paths.keys()
    return found


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_no_module_leads_back_to_itself(package: str) -> None:
    left = uses(package)
    while leaves := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in leaves}
    assert left == {}


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_no_module_is_too_long(package: str) -> None:
    assert [path for path in PACKAGES[package].rglob("*.py") if len(path.read_text().splitlines()) >= 400] == []


@pytest.mark.parametrize(
    ("package", "rooms"),
    [(SHARED, ["http", "reading"]), ("target_harkster", ["vendor", "ledger", "layout", "delivery", "report"])],
)
def test_no_room_knows_those_around_it(package: str, rooms: list[str]) -> None:
    def rank(module: str) -> int:
        return next((at for at, room in enumerate(rooms) if f"{module}.".startswith(f"{package}.{room}.")), len(rooms))

    used = uses(package)
    assert {rank(module) for module in used} == set(range(len(rooms) + 1))
    assert [(module, other) for module in used for other in used[module] if rank(other) > rank(module)] == []
