import re
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
import requests
from api_sandbox import HustleScenario, RunningSandbox, Scenario
from api_sandbox.dice import Ids
from api_sandbox.hustle.leads import spread
from api_sandbox.hustle.resources import LISTS
from api_sandbox.sandbox import Sandbox
from hypothesis import given
from hypothesis import strategies as st

Serve = Callable[[Scenario], RunningSandbox]
Get = Callable[..., requests.Response]


def everything(seed: int = 0, **settings: Any) -> dict[str, list[dict[str, Any]]]:
    sandbox = Sandbox(Scenario(seed=seed, hustle=HustleScenario(**settings)))
    return {name: list(sandbox.records(name)) for name in LISTS}


@pytest.fixture(scope="module")
def account() -> dict[str, list[dict[str, Any]]]:
    return everything(leads=3000, groups=8, tags=20, agents=20, integrations=9)


def test_one_seed_gives_the_same_bytes_in_whatever_order(serve: Serve, get: Get) -> None:
    one, other = serve(Scenario(seed=5)), serve(Scenario(seed=5))
    forwards = [get(one, name).content for name in LISTS]
    assert forwards == [get(other, name).content for name in reversed(LISTS)][::-1]
    assert one.hustle.client_secret == other.hustle.client_secret


def test_another_seed_gives_other_data() -> None:
    one, other = everything(1), everything(2)
    for name in LISTS:
        assert not {record["id"] for record in one[name]} & {record["id"] for record in other[name]}


def test_more_leads_leave_the_others_as_they_are() -> None:
    assert everything(leads=30, lead_shares=(1.0,))["leads"] == everything(leads=90, lead_shares=(1.0,))["leads"][:30]


def test_leads_can_be_added_at_the_end(serve: Serve, get: Get) -> None:
    sandbox = serve(Scenario(hustle=HustleScenario(leads=30)))
    second = sandbox.truth.ids["organizations"][1]
    before = get(sandbox, "leads", organizationId=second).json()["items"]
    added = sandbox.add_leads(1, 5)
    after = get(sandbox, "leads", organizationId=second).json()["items"]
    assert after[:10] == before
    assert [lead["id"] for lead in after[10:]] == added
    assert sandbox.truth.by_organization["leads"][second][10:] == added


def test_leads_added_later_leave_the_report_as_it_was(serve: Serve, get: Get) -> None:
    sandbox = serve(Scenario(hustle=HustleScenario(leads=30)))
    before = sandbox.truth.ids["leads"]
    get(sandbox, "leads")
    added = sandbox.add_leads(0, 5)
    assert sandbox.report().served["leads"] == dict.fromkeys(before, 1)
    get(sandbox, "leads")
    assert sandbox.report().served["leads"] == {**dict.fromkeys(before, 2), **dict.fromkeys(added, 1)}


def test_ids_are_the_vendors_length_and_never_twice(account: dict[str, list[dict[str, Any]]]) -> None:
    ids = [record["id"] for records in account.values() for record in records]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch("[A-Za-z0-9]{10}", own_id) for own_id in ids)


@given(seed=st.integers(0, 10**6), kind=st.integers(0, 15), number=st.integers(0, 10**9))
def test_ids_lead_back_to_their_number(seed: int, kind: int, number: int) -> None:
    ids = Ids.of_seed(seed)
    own_id = ids.make(kind, number)
    assert ids.find(kind, own_id) == number
    assert ids.find((kind + 1) % 16, own_id) is None


def test_optional_fields_are_left_out_and_never_null(account: dict[str, list[dict[str, Any]]]) -> None:
    def nulls(value: Any) -> bool:
        if isinstance(value, dict):
            return any(map(nulls, value.values()))
        return any(map(nulls, value)) if isinstance(value, list) else value is None

    for records in account.values():
        assert not any(map(nulls, records))
    for name, field in [
        ("leads", "firstName"),
        ("leads", "notes"),
        ("leads", "phoneNumberType"),
        ("groups", "location"),
        ("groups", "description"),
        ("agents", "phoneNumber"),
        ("tags", "organizationId"),
    ]:
        assert {field in record for record in account[name]} == {True, False}, field


def test_leads_are_in_no_group_one_or_several_and_inactive_in_some(
    account: dict[str, list[dict[str, Any]]],
) -> None:
    leads = account["leads"]
    assert {len(lead["activeGroupIds"] + lead["inactiveGroupIds"]) for lead in leads} == {0, 1, 2, 3}
    assert any(lead["inactiveGroupIds"] for lead in leads)
    assert not any(set(lead["activeGroupIds"]) & set(lead["inactiveGroupIds"]) for lead in leads)
    assert {True, False} == {lead["globalOptedOut"] for lead in leads}


def test_what_records_refer_to_is_there(account: dict[str, list[dict[str, Any]]]) -> None:
    owner = {
        name: {record["id"]: record.get("organizationId") for record in account[name]}
        for name in ("groups", "tags", "integrations")
    }
    names = {field["name"] for field in account["custom_fields"]}
    for lead in account["leads"]:
        for group in lead["activeGroupIds"] + lead["inactiveGroupIds"]:
            assert owner["groups"][group] == lead["organizationId"]
        assert all(owner["tags"][tag] in (None, lead["organizationId"]) for tag in lead["tagIds"])
        assert set(lead["customFields"]) <= names
    for agent in account["agents"]:
        assert owner["groups"][agent["groupId"]] == agent["organizationId"]
    for organization in account["organizations"]:
        owned = [own_id for own_id, by in owner["integrations"].items() if by == organization["id"]]
        assert organization["integrations"] == owned


def test_a_phone_number_is_once_in_an_organization_and_shared_between_them(
    account: dict[str, list[dict[str, Any]]],
) -> None:
    pairs = [(lead["organizationId"], lead["phoneNumber"]) for lead in account["leads"]]
    assert len(pairs) == len(set(pairs))
    assert len({phone for _, phone in pairs}) < len(pairs)


def test_text_is_of_many_scripts_and_awkward(account: dict[str, list[dict[str, Any]]]) -> None:
    text = "".join(str(lead.get(name, "")) for lead in account["leads"] for name in ("firstName", "lastName", "notes"))
    assert {"L", "R", "AL", "NSM", "ON"} <= {unicodedata.bidirectional(letter) for letter in text}
    assert any(ord(letter) > 0xFFFF for letter in text)
    for awkward in ("\n", "\r\n", "\u2028", '"', "'", "\\", "\u200d", "\ufeff", "e\u0301", "\t"):
        assert awkward in text
    assert "\0" not in text
    assert "" in {lead.get("notes") for lead in account["leads"]}


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [("spec", {"custom_field"}), ("guide", {"CustomField"}), ("mixed", {"custom_field", "CustomField"})],
)
def test_types_drift(spelling: str, expected: set[str]) -> None:
    records = everything(type_spelling=spelling, custom_fields=30)["custom_fields"]
    assert {record["type"] for record in records} == expected


def test_enums_can_have_new_values() -> None:
    records = everything(new_enum_values=True, integrations=20)["integrations"]
    assert "carrier_pigeon" in {record["integrationType"] for record in records}


def test_times_are_of_the_vendors_form(account: dict[str, list[dict[str, Any]]]) -> None:
    for records in account.values():
        for record in records:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["createdAt"])


def test_both_kinds_of_webhooks_and_organizations_with_and_without_balances(
    account: dict[str, list[dict[str, Any]]],
) -> None:
    kinds = {hook["config"]["type"] for hook in account["webhook_registrations"]}
    assert kinds == {"consentUpdate-v1", "messageStatus-v1"}
    organizations = everything(organizations=20)["organizations"]
    assert {"balances" in organization for organization in organizations} == {True, False}


@given(
    leads=st.integers(0, 5000),
    organizations=st.integers(1, 30),
    shares=st.one_of(st.sampled_from(["even", "halving"]), st.lists(st.floats(0, 9), min_size=1).map(tuple)),
)
def test_every_lead_is_in_an_organization(leads: int, organizations: int, shares: Any) -> None:
    if isinstance(shares, tuple):
        shares = (*shares[:organizations],)
        if not sum(shares):
            shares = "even"
    scenario = HustleScenario(organizations=organizations, leads=leads, lead_shares=shares)
    assert sum(spread(scenario)) == leads


def test_leads_are_spread_as_asked() -> None:
    assert spread(HustleScenario(leads=10, organizations=3)) == [4, 3, 3]
    assert spread(HustleScenario(leads=70, organizations=3, lead_shares="halving")) == [40, 20, 10]
    assert spread(HustleScenario(leads=8, organizations=4, lead_shares=(1, 0, 3))) == [2, 0, 6, 0]
    assert spread(HustleScenario(leads=8, organizations=3, empty_organizations=2)) == [8, 0, 0]


def test_a_warm_account_serves_the_same(serve: Serve, get: Get) -> None:
    warm, cold = (serve(Scenario(hustle=HustleScenario(warm=warm))) for warm in (True, False))
    assert get(warm, "leads").content == get(cold, "leads").content
