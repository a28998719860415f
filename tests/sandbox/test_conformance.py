"""Answers against the vendor's own specification, where a copy of it is at hand."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from api_sandbox import HustleScenario, RunningSandbox, Scenario
from api_sandbox.hustle.queries import FILTERS
from api_sandbox.hustle.resources import LISTS

SPEC_NAME = "hustle-v3.openapi.json"
SPECS = Path(os.environ.get("VENDOR_SPECS", Path(__file__).parents[3] / "shared" / "specs"))

pytestmark = pytest.mark.skipif(not (SPECS / SPEC_NAME).exists(), reason=f"no copy of {SPEC_NAME} in VENDOR_SPECS")

Get = Callable[..., requests.Response]


@pytest.fixture(scope="module")
def spec() -> Any:
    return json.loads((SPECS / SPEC_NAME).read_text(encoding="utf-8"))


def schema_of(spec: Any, path: str, method: str, status: str) -> dict[str, Any]:
    answer = spec["paths"][path][method]["responses"][status]
    return {**answer["content"]["application/json"]["schema"], "components": spec["components"]}


def check(instance: Any, schema: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator(schema).validate(instance)


@pytest.fixture
def sandbox(serve: Callable[[Scenario], RunningSandbox]) -> RunningSandbox:
    hustle = HustleScenario(type_spelling="spec", leads=300, organizations=8, groups=9, webhook_registrations=9)
    return serve(Scenario(hustle=hustle))


@pytest.mark.parametrize("name", LISTS)
def test_pages_are_valid(spec: Any, sandbox: RunningSandbox, get: Get, name: str) -> None:
    page = get(sandbox, name, limit=1000).json()
    assert page["items"]
    check(page, schema_of(spec, f"/{name}", "get", "200"))
    check(get(sandbox, name, id="nothing").json(), schema_of(spec, f"/{name}", "get", "200"))


@pytest.mark.parametrize("name", LISTS)
def test_errors_are_valid(spec: Any, sandbox: RunningSandbox, get: Get, name: str) -> None:
    check(get(sandbox, name, limit=0).json(), schema_of(spec, f"/{name}", "get", "400"))
    sandbox.expire_tokens()
    check(get(sandbox, name).json(), schema_of(spec, f"/{name}", "get", "401"))


def test_tokens_are_valid(spec: Any, sandbox: RunningSandbox) -> None:
    body = {
        "grant_type": "client_credentials",
        "client_id": sandbox.hustle.client_id,
        "client_secret": sandbox.hustle.client_secret,
    }
    check(body, spec["paths"]["/oauth/token"]["post"]["requestBody"]["content"]["application/json"]["schema"])
    answer = requests.post(sandbox.hustle.auth_url, json=body, timeout=60)
    check(answer.json(), schema_of(spec, "/oauth/token", "post", "200"))


def test_every_list_and_filter_of_the_spec_is_there(spec: Any) -> None:
    lists = {path.lstrip("/") for path, methods in spec["paths"].items() if "get" in methods and "{" not in path}
    assert lists == set(LISTS)
    for name in LISTS:
        documented = {parameter["name"] for parameter in spec["paths"][f"/{name}"]["get"]["parameters"]}
        assert documented == FILTERS[name] | {"limit", "cursor"}
