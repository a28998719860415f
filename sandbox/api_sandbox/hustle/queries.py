"""Queries on lists: which parameters each list knows, what they may be, and which records they select."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from api_sandbox.api import Refused
from api_sandbox.hustle.account import Account
from api_sandbox.hustle.leads import LeadBook, Row
from api_sandbox.hustle.resources import LISTS, Record
from api_sandbox.recipes import Fields
from api_sandbox.truth import Truth

DEFAULT_LIMIT = 100
"""Records a page if nothing is asked for: the vendor's guide."""
MAX_LIMIT = 1000
"""The most that may be asked for: guide and spec."""

FILTERS: Mapping[str, frozenset[str]] = {
    "organizations": frozenset({"id"}),
    "groups": frozenset({"id", "organizationId", "active"}),
    "agents": frozenset({"id", "groupId"}),
    "leads": frozenset({"id", "phoneNumber", "organizationId", "groupId", "leadStatusInGroup"}),
    "tags": frozenset({"id", "name", "organizationId", "agentVisibility"}),
    "custom_fields": frozenset({"id", "organizationId"}),
    "integrations": frozenset({"id", "organizationId", "integrationType"}),
    "webhook_registrations": frozenset({"id", "configType"}),
}
"""The filters that the spec documents, by list. Any other parameter is ignored."""

_ALLOWED: Mapping[str, re.Pattern[str]] = {
    "active": re.compile("true|false"),
    "leadStatusInGroup": re.compile("active|inactive|all"),
    "phoneNumber": re.compile(r"\+[1-9][0-9]{1,14}|[0-9]{5,6}"),
    "agentVisibility": re.compile("LEAD_PROFILES|OPT_OUT|NEVER"),
    "integrationType": re.compile(
        "bbluminate|evertrue|msdynamics|pdi|salesforce_managed_package|van|van_myvoters|webhook"
    ),
    "configType": re.compile("consentUpdate-v1|messageStatus-v1"),
}
_LIMIT = re.compile("[0-9]{1,4}")


@dataclass(frozen=True, slots=True)
class Query:
    """One question to a list, without the place in it."""

    name: str
    filters: Mapping[str, str]
    limit: int

    @property
    def key(self) -> str:
        """Text that differs for any two queries that differ."""
        return f"{self.name}?{sorted(self.filters.items())!r}&{self.limit}"


def parse_query(name: str, query_string: bytes) -> tuple[Query, str | None]:
    """The query of a request, and its cursor."""
    filters: dict[str, str] = {}
    known = FILTERS[name] | {"limit", "cursor"}
    for parameter, value in parse_qsl(query_string.decode("latin-1"), keep_blank_values=True):
        if parameter not in known:
            continue
        if parameter in filters:
            raise Refused(HTTPStatus.BAD_REQUEST, f"{parameter} is given twice")
        allowed = _ALLOWED.get(parameter)
        if allowed is not None and not allowed.fullmatch(value):
            raise Refused(HTTPStatus.BAD_REQUEST, f"{parameter} has a value that is not allowed")
        filters[parameter] = value
    cursor = filters.pop("cursor", None)
    limit = filters.pop("limit", str(DEFAULT_LIMIT))
    if not _LIMIT.fullmatch(limit) or not 1 <= int(limit) <= MAX_LIMIT:
        raise Refused(HTTPStatus.BAD_REQUEST, f"limit must be a whole number from 1 to {MAX_LIMIT}")
    return Query(name, filters, int(limit)), cursor


@dataclass(frozen=True, slots=True)
class Selector:
    """Finds the records that a query selects. An unknown organization or group selects nothing."""

    account: Account
    book: LeadBook

    def rows(self, query: Query) -> Sequence[Row]:
        """The records of a query."""
        return self._leads(query.filters) if query.name == "leads" else self._records(query.name, query.filters)

    def truth(self) -> Truth:
        """The ids of everything, and of what each organization owns."""

        def ids(name: str, **filters: str) -> list[str]:
            return [row.id for row in self.rows(Query(name, filters, MAX_LIMIT))]

        owned = ("groups", "agents", "leads", "tags", "custom_fields", "integrations")
        owners = [organization.id for organization in self.account.organizations]
        return Truth(
            {name: ids(name) for name in LISTS},
            {name: {owner: ids(name, organizationId=owner) for owner in owners} for name in owned},
        )

    def organization(self, query: Query) -> tuple[str, int] | None:
        """Id and index of the organization that a query asks for, if it is one."""
        own_id = query.filters.get("organizationId")
        if own_id is None or own_id not in self.account.index_of:
            return None
        return own_id, self.account.index_of[own_id]

    def _records(self, name: str, filters: Mapping[str, str]) -> list[Record]:
        rest = dict(filters)
        own_id, owner = rest.pop("id", None), rest.pop("organizationId", None)
        if own_id is not None:
            record = self.account.by_id[name].get(own_id)
            rows = [] if record is None or owner not in (None, record.organization_id) else [record]
        elif owner is not None:
            rows = self.account.by_organization[name].get(owner, [])
        else:
            rows = self.account.records[name]
        return [record for record in rows if _matches(record, rest)] if rest else rows

    def _leads(self, filters: Mapping[str, str]) -> Sequence[Row]:
        owner, group = filters.get("organizationId"), filters.get("groupId")
        visible = self.account.by_id["organizations"]
        indices = tuple(
            one.index for one in self.account.organizations if one.id in visible and owner in (None, one.id)
        )
        found = [] if group is None else [self.book.in_group(group, filters.get("leadStatusInGroup", "active"))]
        if "id" in filters:
            found.append(self.book.with_id(filters["id"]))
        if "phoneNumber" in filters:
            found.append(self.book.with_phone(filters["phoneNumber"]))
        if not found:
            return self.book.of(indices)
        first, *others = found
        return [lead for lead in first if lead.key[0] in indices and all(lead in other for other in others)]


def _matches(record: Record, filters: Mapping[str, str]) -> bool:
    return all(_text(record.fields, parameter) == value for parameter, value in filters.items())


def _text(fields: Fields, parameter: str) -> Any:
    """What a parameter is compared with."""
    if parameter == "active":
        return "true" if fields["active"] else "false"
    return fields["config"]["type"] if parameter == "configType" else fields.get(parameter)
