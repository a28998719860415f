from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from api_sandbox import Forbidden, HustleScenario, RunningSandbox, Scenario, serve_in_thread
from api_sandbox.hustle.queries import Query
from api_sandbox.hustle.resources import LISTS
from api_sandbox.hustle.scenario import CursorKind
from api_sandbox.sandbox import Sandbox
from hypothesis import given, settings
from hypothesis import strategies as st

KINDS: tuple[CursorKind, ...] = ("sequential", "offsets", "opaque", "drifting")

Serve = Callable[[Scenario], RunningSandbox]
Get = Callable[..., requests.Response]
ReadAll = Callable[..., list[dict[str, Any]]]


def account(**settings: Any) -> Scenario:
    return Scenario(seed=3, hustle=HustleScenario(**{"requests_per_second": None, "leads": 60, **settings}))


@pytest.fixture
def sandbox(serve: Serve) -> RunningSandbox:
    return serve(account())


def sequential(*numbers: int) -> str:
    return urlsafe_b64encode(b"[%d,%d]" % numbers).decode().rstrip("=")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("last_page_cursor", [True, False])
def test_every_list_read_to_its_end_is_the_truth(
    serve: Serve, read_all: ReadAll, kind: CursorKind, *, last_page_cursor: bool
) -> None:
    sandbox = serve(account(cursors=kind, last_page_cursor=last_page_cursor))
    truth = sandbox.truth
    for name in LISTS:
        records = read_all(sandbox, name, limit=7)
        assert [record["id"] for record in records] == truth.ids[name]
        assert records == sandbox.records(name)
        assert sandbox.report().served[name] == dict.fromkeys(truth.ids[name], 1)


@pytest.mark.parametrize("kind", KINDS)
def test_short_pages_lose_nothing(serve: Serve, read_all: ReadAll, kind: CursorKind) -> None:
    sandbox = serve(account(cursors=kind, short_pages=0.6, unissued_cursors="refuse"))
    assert [lead["id"] for lead in read_all(sandbox, "leads", limit=4)] == sandbox.truth.ids["leads"]
    assert sandbox.report().outcomes["/hustle/v3/leads"]["200"] > 60 / 4


def test_short_pages_are_empty_at_times(serve: Serve, get: Get) -> None:
    sandbox = serve(account(short_pages=0.9))
    pages = [get(sandbox, "leads", limit=2, cursor=sequential(n, 2)).json() for n in range(1, 40)]
    assert any(not page["items"] and page["hasMore"] and page["cursor"] for page in pages)


@pytest.mark.parametrize("name", ["groups", "leads", "tags", "custom_fields", "integrations"])
def test_the_lists_of_organizations_are_the_truth(serve: Serve, read_all: ReadAll, name: str) -> None:
    sandbox = serve(account(empty_organizations=1))
    owned = sandbox.truth.by_organization[name]
    assert len(owned) == 3
    for organization, ids in owned.items():
        records = read_all(sandbox, name, organizationId=organization, limit=9)
        assert [record["id"] for record in records] == ids
        assert all(record["organizationId"] == organization for record in records)
    assert owned[sandbox.truth.ids["organizations"][-1]] == []


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_query_pages_to_the_records_that_a_look_at_all_of_them_finds(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    short = data.draw(st.sampled_from([0.0, 0.5]))
    api = Sandbox(account(cursors=kind, short_pages=short)).hustle
    everything = [api.book.fields((index, n)) for index in range(3) for n in range(api.book.count(index))]
    group = data.draw(st.sampled_from([None, *everything[0]["activeGroupIds"], *everything[25]["activeGroupIds"]]))
    status = data.draw(st.sampled_from([None, "active", "inactive", "all"]))
    owner = data.draw(st.sampled_from([None, everything[0]["organizationId"], everything[-1]["organizationId"]]))
    phone = data.draw(st.sampled_from([None, None, everything[5]["phoneNumber"]]))
    limit = data.draw(st.integers(1, 100))
    given_filters = {
        "groupId": group,
        "leadStatusInGroup": status,
        "organizationId": owner,
        "phoneNumber": phone,
    }

    def selected(lead: dict[str, Any]) -> bool:
        groups = {
            "active": lead["activeGroupIds"],
            "inactive": lead["inactiveGroupIds"],
            "all": lead["activeGroupIds"] + lead["inactiveGroupIds"],
        }[status or "active"]
        return (
            (group is None or group in groups)
            and owner in (None, lead["organizationId"])
            and phone in (None, lead["phoneNumber"])
        )

    query = Query("leads", {name: value for name, value in given_filters.items() if value is not None}, limit)
    rows = api.selector.rows(query)
    found: list[str] = []
    cursor = None
    while True:
        page = api._paginator.page(query, rows, cursor)
        found += page.ids()
        cursor = page.cursor
        if not page.has_more:
            break
    assert found == [lead["id"] for lead in everything if selected(lead)]


def test_the_cursors_of_the_vendors_example(serve: Serve, get: Get) -> None:
    sandbox = serve(account(organizations=2))
    first = get(sandbox, "organizations", limit=1).json()
    assert (first["cursor"], first["hasMore"]) == ("WzEsMV0", True)
    second = get(sandbox, "organizations", limit=1, cursor="WzEsMV0").json()
    assert (second["cursor"], second["hasMore"]) == ("WzIsMV0", False)
    third = get(sandbox, "organizations", limit=1, cursor="WzIsMV0").json()
    assert third == {"items": [], "cursor": None, "hasMore": False}


def test_a_predicted_cursor_works_and_beyond_the_end_is_nothing(sandbox: RunningSandbox, get: Get) -> None:
    third = get(sandbox, "leads", limit=10, cursor=sequential(3, 10)).json()
    assert [lead["id"] for lead in third["items"]] == sandbox.truth.ids["leads"][30:40]
    beyond = get(sandbox, "leads", limit=10, cursor=sequential(700, 10)).json()
    assert beyond == {"items": [], "cursor": None, "hasMore": False}


def test_offsets_count_items(serve: Serve, get: Get) -> None:
    sandbox = serve(account(cursors="offsets"))
    assert get(sandbox, "leads", limit=10).json()["cursor"] == sequential(10, 10)
    page = get(sandbox, "leads", limit=10, cursor=sequential(15, 10)).json()
    assert [lead["id"] for lead in page["items"]] == sandbox.truth.ids["leads"][15:25]


def test_cursors_drift(serve: Serve, get: Get) -> None:
    sandbox = serve(account(cursors="drifting", drift_after=3))
    cursors = [get(sandbox, "leads", limit=5).json()["cursor"]]
    for _ in range(3):
        cursors.append(get(sandbox, "leads", limit=5, cursor=cursors[-1]).json()["cursor"])
    assert cursors[:2] == [sequential(1, 5), sequential(2, 5)]
    assert sequential(3, 5) != cursors[2]
    assert get(sandbox, "leads", limit=5, cursor=sequential(3, 5)).status_code == 400


def test_a_predicted_cursor_can_be_refused(serve: Serve, get: Get) -> None:
    sandbox = serve(account(unissued_cursors="refuse"))
    assert get(sandbox, "leads", limit=5, cursor=sequential(1, 5)).status_code == 400
    get(sandbox, "leads", limit=5)
    assert get(sandbox, "leads", limit=5, cursor=sequential(1, 5)).status_code == 200
    owner = sandbox.truth.ids["organizations"][0]
    assert get(sandbox, "leads", limit=5, cursor=sequential(1, 5), organizationId=owner).status_code == 400


@pytest.mark.parametrize(
    "cursor", ["", "nonsense", "WzEsMV0=", "ä", sequential(0, 5), sequential(-1, 5), "WyAxLDVd", "A" * 24]
)
@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_cursor_is_refused(serve: Serve, get: Get, kind: CursorKind, cursor: str) -> None:
    sandbox = serve(account(cursors=kind))
    answer = get(sandbox, "leads", limit=5, cursor=cursor)
    assert answer.status_code == 400
    assert answer.json()["code"] == 400
    assert set(answer.json()) == {"code", "message"}


def test_a_cursor_of_another_query_is_refused(serve: Serve, get: Get) -> None:
    sandbox = serve(account(cursors="opaque"))
    one, other, _ = sandbox.truth.ids["organizations"]
    cursor = get(sandbox, "leads", limit=5, organizationId=one).json()["cursor"]
    assert get(sandbox, "leads", limit=5, organizationId=one, cursor=cursor).status_code == 200
    assert get(sandbox, "leads", limit=5, organizationId=other, cursor=cursor).status_code == 400
    assert get(sandbox, "leads", limit=6, organizationId=one, cursor=cursor).status_code == 400
    assert get(sandbox, "tags", limit=5, organizationId=one, cursor=cursor).status_code == 400


def test_a_sequential_cursor_is_good_for_its_limit_only(sandbox: RunningSandbox, get: Get) -> None:
    assert get(sandbox, "leads", limit=6, cursor=sequential(1, 5)).status_code == 400
    assert get(sandbox, "leads", cursor=sequential(1, 5)).status_code == 400


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "ten", "1.5", "", "1e2", "99999999999999999999", "٣"])
def test_a_limit_out_of_bounds_is_refused(sandbox: RunningSandbox, get: Get, limit: str) -> None:
    assert get(sandbox, "leads", limit=limit).status_code == 400


def test_the_limit_is_100_by_default_and_1000_at_most(serve: Serve, get: Get) -> None:
    sandbox = serve(account(leads=1100))
    assert len(get(sandbox, "leads").json()["items"]) == 100
    assert len(get(sandbox, "leads", limit=1000).json()["items"]) == 1000


def test_unknown_parameters_are_ignored_and_repeated_ones_refused(sandbox: RunningSandbox, get: Get) -> None:
    assert get(sandbox, "groups", colour="red").json() == get(sandbox, "groups").json()
    assert get(sandbox, "groups", active=["true", "false"]).status_code == 400


@pytest.mark.parametrize(
    ("name", "filters"),
    [
        ("groups", {"active": "yes"}),
        ("leads", {"leadStatusInGroup": "gone"}),
        ("leads", {"phoneNumber": "555 1234"}),
        ("tags", {"agentVisibility": "sometimes"}),
        ("integrations", {"integrationType": "pigeon"}),
        ("webhook_registrations", {"configType": "v1"}),
    ],
)
def test_values_outside_an_enum_are_refused(
    sandbox: RunningSandbox, get: Get, name: str, filters: dict[str, str]
) -> None:
    assert get(sandbox, name, **filters).status_code == 400


@pytest.mark.parametrize("name", LISTS)
def test_an_id_selects_one_record(sandbox: RunningSandbox, get: Get, name: str) -> None:
    for record in sandbox.records(name)[:3]:
        assert get(sandbox, name, id=record["id"]).json()["items"] == [record]
    assert get(sandbox, name, id="AAAAAAAAAA").json()["items"] == []
    assert get(sandbox, name, id="?").json() == {"items": [], "cursor": None, "hasMore": False}


@pytest.mark.parametrize(
    ("name", "parameter", "values"),
    [
        ("groups", "active", ("true", "false")),
        ("tags", "agentVisibility", ("LEAD_PROFILES", "OPT_OUT", "NEVER")),
        ("integrations", "integrationType", ("van", "webhook", "pdi", "evertrue")),
    ],
)
def test_filters_select_what_they_say(
    serve: Serve, get: Get, name: str, parameter: str, values: tuple[str, ...]
) -> None:
    sandbox = serve(account(groups=9, tags=9, integrations=9))
    for value in values:
        wanted: Any = value == "true" if parameter == "active" else value
        expected = [record for record in sandbox.records(name) if record[parameter] == wanted]
        assert expected
        assert get(sandbox, name, **{parameter: value}).json()["items"] == expected


def test_agents_by_group_tags_by_name_and_webhooks_by_type(sandbox: RunningSandbox, get: Get) -> None:
    group = sandbox.truth.ids["groups"][0]
    agents = get(sandbox, "agents", groupId=group).json()["items"]
    assert agents == [agent for agent in sandbox.records("agents") if agent["groupId"] == group] != []
    name = sandbox.records("tags")[0]["name"]
    assert all(tag["name"] == name for tag in get(sandbox, "tags", name=name).json()["items"])
    hooks = get(sandbox, "webhook_registrations", configType="messageStatus-v1").json()["items"]
    assert [hook["config"]["type"] for hook in hooks] == ["messageStatus-v1"]


def test_lead_status_in_group_acts_with_a_group_only(sandbox: RunningSandbox, get: Get) -> None:
    assert get(sandbox, "leads", leadStatusInGroup="inactive").json() == get(sandbox, "leads").json()


def test_agents_know_no_filter_by_organization(sandbox: RunningSandbox, get: Get) -> None:
    owner = sandbox.truth.ids["organizations"][0]
    assert get(sandbox, "agents", organizationId=owner).json() == get(sandbox, "agents").json()


@pytest.mark.parametrize("name", ["leads", "groups", "tags"])
def test_an_unknown_organization_has_nothing(sandbox: RunningSandbox, get: Get, name: str) -> None:
    answer = get(sandbox, name, organizationId="AAAAAAAAAA")
    assert answer.json() == {"items": [], "cursor": None, "hasMore": False}


def test_things_of_the_account_are_in_no_organization(sandbox: RunningSandbox, get: Get) -> None:
    tags = get(sandbox, "tags").json()["items"]
    assert sum("organizationId" not in tag for tag in tags) == 2
    owned = sandbox.truth.by_organization["tags"]
    assert len(sandbox.truth.ids["tags"]) == sum(map(len, owned.values())) + 2


def test_forbidden_parts_are_403(serve: Serve, get: Get) -> None:
    forbidden = (Forbidden(path="/integrations"), Forbidden(path="/leads", organizations=(1,)))
    sandbox = serve(account(forbidden=forbidden))
    allowed, closed, _ = sandbox.truth.ids["organizations"]
    assert get(sandbox, "integrations").status_code == 403
    assert get(sandbox, "leads", organizationId=closed).json()["code"] == 403
    assert get(sandbox, "leads", organizationId=allowed).status_code == 200
    assert get(sandbox, "groups", organizationId=closed).status_code == 200
    assert get(sandbox, "leads").status_code == 200


def test_other_paths_and_methods_are_refused_in_the_vendors_form(
    sandbox: RunningSandbox, get: Get, log_in: Callable[[RunningSandbox], requests.Session]
) -> None:
    assert get(sandbox, "messages").json()["code"] == 404
    assert get(sandbox, "leads/").status_code == 404
    refused = log_in(sandbox).post(f"{sandbox.hustle.api_url}/leads", json={}, timeout=60)
    assert (refused.status_code, refused.json()["code"]) == (405, 405)


@pytest.fixture(scope="module")
def empty() -> Iterator[RunningSandbox]:
    nothing = HustleScenario(organizations=0, leads=0, webhook_registrations=0, account_tags=0, account_custom_fields=0)
    with serve_in_thread(Scenario(hustle=nothing)) as sandbox:
        yield sandbox


@pytest.mark.parametrize("name", LISTS)
def test_an_empty_account_has_no_cursors(empty: RunningSandbox, get: Get, name: str) -> None:
    assert get(empty, name).json() == {"items": [], "cursor": None, "hasMore": False}
