"""`organization_ids`: only these, and what belongs to the whole account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.hustle.conftest import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]


@pytest.fixture(scope="module")
def account(standing: RunningSandbox) -> RunningSandbox:
    return standing


def wanted_ids(account: RunningSandbox, stream: str, wanted: set[str]) -> list[str]:
    """The truth, restricted."""
    if stream == "organizations":
        return [own_id for own_id in account.truth.ids[stream] if own_id in wanted]
    if stream == "webhook_registrations":
        scopes = {hook["id"]: hook["config"]["scope"] for hook in account.records(stream)}
        return [own_id for own_id, scope in scopes.items() if wanted & set(scope.get("organizationIds", wanted))]
    return [record["id"] for record in account.records(stream) if record.get("organizationId", None) in {None, *wanted}]


@pytest.mark.parametrize("chosen", [[0], [1, 2], [3], [2, 0], [0, 1, 2, 3]])
def test_every_stream_is_restricted(tap: Tap, account: RunningSandbox, settings: Settings, chosen: list[int]) -> None:
    organizations = account.truth.ids["organizations"]
    wanted = [organizations[index] for index in chosen]
    run = tap(config=settings(account, organization_ids=wanted))
    assert run.code == 0
    for stream in account.truth.ids:
        assert sorted(run.ids(stream)) == sorted(wanted_ids(account, stream, set(wanted))), stream
    partitions = run.states[-1]["bookmarks"]["leads"]["partitions"]
    assert [bookmark["context"]["organizationId"] for bookmark in partitions] == [
        organizations[index] for index in sorted(chosen)
    ]


def test_the_sandbox_has_what_the_restriction_is_about(account: RunningSandbox) -> None:
    assert any("organizationId" not in tag for tag in account.records("tags"))
    assert any("organizationId" not in field for field in account.records("custom_fields"))
    assert all("organizationId" in agent for agent in account.records("agents"))
    assert account.truth.by_organization["leads"][account.truth.ids["organizations"][3]] == []


@pytest.mark.parametrize("seed", range(3))
def test_webhooks_of_an_organization_and_of_the_account(tap: Tap, serve: Serve, settings: Settings, seed: int) -> None:
    sandbox = serve(seed=seed, webhook_registrations=20)
    scopes = {hook["config"]["scope"]["type"] for hook in sandbox.records("webhook_registrations")}
    assert scopes == {"account", "organizations"}
    wanted = sandbox.truth.ids["organizations"][:1]
    run = tap(config=settings(sandbox, organization_ids=wanted))
    ids = wanted_ids(sandbox, "webhook_registrations", set(wanted))
    assert run.ids("webhook_registrations") == ids
    assert 0 < len(ids) < 20


@pytest.mark.parametrize("given", [None, []])
def test_no_choice_is_every_organization(
    tap: Tap, account: RunningSandbox, settings: Settings, assert_complete: Callable[..., None], given: list[str] | None
) -> None:
    run = tap(config=settings(account, organization_ids=given))
    assert run.code == 0
    assert_complete(run, account)


def test_an_organization_named_twice_is_read_once(tap: Tap, account: RunningSandbox, settings: Settings) -> None:
    one = account.truth.ids["organizations"][0]
    run = tap(config=settings(account, organization_ids=[one, one]))
    assert run.code == 0
    assert run.ids("organizations") == [one]
    assert run.ids("leads") == account.truth.by_organization["leads"][one]


def test_nothing_is_asked_of_other_organizations(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve()
    one, *others = sandbox.truth.ids["organizations"]
    assert tap(config=settings(sandbox, organization_ids=[one])).code == 0
    served = set(sandbox.report().served["leads"])
    for other in others:
        assert served.isdisjoint(sandbox.truth.by_organization["leads"][other])


def test_bookmarks_of_organizations_that_are_gone_do_no_harm(
    tap: Tap, account: RunningSandbox, settings: Settings, assert_complete: Callable[..., None]
) -> None:
    gone = {"context": {"organizationId": "gone"}, "resume": {"cursor": "x"}}
    state = {"bookmarks": {"leads": {"partitions": [gone]}, "nothing_of_ours": {"x": 1}}}
    run = tap(config=settings(account), state=state)
    assert run.code == 0
    assert_complete(run, account)


def test_the_list_of_organizations_is_asked_for_once(
    tap: Tap, serve: Serve, settings: Settings, assert_complete: Callable[..., None]
) -> None:
    sandbox = serve(leads=20, organizations=4)
    run = tap(config=settings(sandbox, page_size=1))
    assert run.code == 0
    assert_complete(run, sandbox)
    assert sandbox.report().outcomes["/hustle/v3/organizations"] == {"200": 4}


def test_a_list_of_organizations_that_is_cut_off_gives_what_came_before(
    tap: Tap, serve: Serve, settings: Settings
) -> None:
    sandbox = serve(Fault(kind="status", status=400, path="/organizations", page=3), leads=20, organizations=4)
    run = tap(config=settings(sandbox, page_size=1))
    assert run.code == 1
    assert run.ids("organizations") == sandbox.truth.ids["organizations"][:2]
    assert sandbox.report().outcomes["/hustle/v3/organizations"] == {"200": 2, "400": 1}
    resumed = tap(config=settings(sandbox, page_size=1), state=run.states[-1])
    # It goes on where it was, and fails there again; what is read by organization needs the whole list.
    assert set(resumed.ids("organizations")) <= set(run.ids("organizations"))
    assert "Traceback" not in resumed.stderr
