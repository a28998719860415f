from __future__ import annotations

import string

import pytest
from singer_http.http.errors import ApiError, AuthenticationError
from singer_http.http.rules import LOGIN_RULES, RULES, Action, Fault, Rule, rule_for

STATUSES = range(100, 600)
TABLES = {"requests": RULES, "logins": LOGIN_RULES}


@pytest.fixture(params=TABLES)
def table(request: pytest.FixtureRequest) -> tuple[Rule, ...]:
    return TABLES[request.param]


def test_every_fault_and_status_has_a_rule(table: tuple[Rule, ...]) -> None:
    for fault in Fault:
        assert rule_for(fault, table).condition is fault
    for status in STATUSES:
        condition = rule_for(status, table).condition
        assert isinstance(condition, range)
        assert status in condition


def test_every_rule_is_reached(table: tuple[Rule, ...]) -> None:
    reached = {id(rule_for(condition, table)) for condition in (*Fault, *range(100, 1000))}
    assert [rule.condition for rule in table if id(rule) not in reached] == []


def test_a_condition_that_no_rule_has_is_an_error(table: tuple[Rule, ...]) -> None:
    with pytest.raises(LookupError):
        rule_for(99, table)
    with pytest.raises(LookupError):
        rule_for(200, ())


def test_every_sentence_can_be_said(table: tuple[Rule, ...]) -> None:
    for rule in table:
        assert rule.sentence.format(status=418, tries=3, found="no JSON").endswith(".")
        fields = {field for _, field, _, _ in string.Formatter().parse(rule.sentence) if field}
        assert fields <= {"status", "tries", "found"}
        assert "found" not in fields or rule.condition is Fault.MALFORMED
        if isinstance(rule.condition, Fault) and rule.condition not in {Fault.EMPTY, Fault.MALFORMED}:
            assert "status" not in fields  # there was no answer


def test_only_retries_have_tries(table: tuple[Rule, ...]) -> None:
    for rule in table:
        assert (rule.tries > 1) == (rule.action is Action.RETRY)
        assert issubclass(rule.error, ApiError)


def test_a_login_only_fails_for_good_and_before_the_vendors_block() -> None:
    for rule in LOGIN_RULES:
        assert issubclass(rule.error, AuthenticationError)
        assert rule.action is not Action.REAUTHENTICATE
        assert rule.tries < 10


@pytest.mark.parametrize("status", [400, 401, 403, 405, 422, 451])
def test_a_refused_credential_is_never_tried_again(status: int) -> None:
    assert rule_for(status, LOGIN_RULES).action is Action.FAIL


def test_a_retry_has_more_than_one_try() -> None:
    with pytest.raises(ValueError, match="how many tries"):
        Rule(Fault.TIMEOUT, Action.RETRY, ApiError, "Never tried again.")
