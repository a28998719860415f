"""The records of the small lists: clients, invites, invoices, policies, holidays and so on."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta

from api_sandbox.hubstaff.account import Organization
from api_sandbox.hubstaff.clock import DAY, HOUR, instant
from api_sandbox.hubstaff.records import Fields
from api_sandbox.hustle.dice import Dice
from api_sandbox.hustle.texts import TEXTS

Maker = Callable[[Organization, Dice, int, bool], Fields]
"""Makes the fields of one record but `id` and, unless it brings its own, `created_at` and `updated_at`.

It is given the organization, chance, the record's place in its list, and whether lists hide it by default.
"""


def budget(dice: Dice, organization: Organization) -> Fields:
    """The budget of a project or client."""
    kind = dice.pick(("cost", "hours"))
    return {
        "type": kind,
        "rate": dice.pick(("bill_rate", "pay_rate")),
        kind: float(1000 + dice.below(9000)) / 8,
        "start_date": _some_day(dice, organization).isoformat(),
        "alerts": {"near_limit": 80},
        "recurrence": "monthly",
        "include_non_billable": dice.chance(50),
    }


def _some_day(dice: Dice, organization: Organization) -> date:
    return organization.began + timedelta(days=dice.below((organization.today - organization.began).days + 1))


def _user(dice: Dice, organization: Organization) -> int:
    return dice.pick(organization.members).user_id


def _some_time(dice: Dice, organization: Organization) -> int:
    return organization.midnight(_some_day(dice, organization)) + dice.below(DAY)


def _client(organization: Organization, dice: Dice, number: int, hidden: bool) -> Fields:  # noqa: FBT001
    made: Fields = {
        "organization_id": organization.id,
        "name": TEXTS.title(dice),
        "emails": [f"client{number}@example.org"],
        "phone": None,
        "address": dice.pick(TEXTS.notes),
        "project_ids": [project.id for project in organization.projects[number::4]],
        "inherit_invoice_notes": True,
        "inherit_net_terms": False,
        "net_terms": "30",
        "status": "archived" if hidden else "active",
        "metadata": {},
    }
    if dice.chance(40):
        made["budget"] = budget(dice, organization)
    return made


def _invite(organization: Organization, dice: Dice, number: int, hidden: bool) -> Fields:  # noqa: FBT001
    status = dice.pick(("accepted", "expired")) if hidden else "pending"
    made: Fields = {
        "email": f"invited{number}@example.org",
        "invited_by_id": organization.members[0].user_id,
        "project_ids": [organization.projects[0].id],
        "role": "user",
        "status": status,
        "trackable": dice.chance(80),
    }
    if status == "accepted":
        made["accepted_at"] = instant(_some_time(dice, organization))
    return made


def _job_site(organization: Organization, dice: Dice, _number: int, _hidden: bool) -> Fields:  # noqa: FBT001
    place = dice.pick(TEXTS.places)
    made: Fields = {
        "organization_id": organization.id,
        "name": place.label,
        "status": "active",
        "address": place.label,
        "latitude": place.lat,
        "longitude": place.lng,
        "radius": 50 + dice.below(400),
        "last_visited_at": None,
    }
    if dice.chance(50):
        made["rules"] = {
            "id": 1 + dice.below(10**6),
            "enter_action": "track",
            "exit_action": "stop",
            "user_ids": [_user(dice, organization)],
            "team_ids": [],
            "start_project_id": organization.projects[0].id,
        }
    return made


def _schedule(organization: Organization, dice: Dice, _number: int, _hidden: bool) -> Fields:  # noqa: FBT001
    # Work is planned ahead.
    ahead = organization.today + timedelta(days=dice.below(30))
    first = ahead if dice.chance(30) else _some_day(dice, organization)
    made: Fields = {
        "user_id": _user(dice, organization),
        "organization_id": organization.id,
        "start_date": first.isoformat(),
        "use_time_zone": organization.zone,
        "start_time": instant(organization.midnight(first) + 9 * HOUR),
        "duration": 8 * HOUR,
        "minimum_time": 6 * HOUR,
        "repeat_schedule": dice.pick(("weekly", "never", "daily")),
    }
    if made["repeat_schedule"] == "never":
        made["repeat_until"] = made["start_date"]
    else:
        made["weekdays"] = ["mon", "wed", "fri"]
        if dice.chance(50):
            made["repeat_until"] = (first + timedelta(days=30)).isoformat()
    return made


def _policy(organization: Organization, dice: Dice, _number: int, hidden: bool) -> Fields:  # noqa: FBT001
    return {
        "organization_id": organization.id,
        "name": TEXTS.title(dice),
        "created_by_id": organization.members[0].user_id,
        "auto_add_new_users": dice.chance(50),
        "allow_negative_balances": dice.chance(50),
        "requires_approval": dice.chance(50),
        "balance_rolls_over_annually": dice.chance(50),
        "paid": dice.chance(50),
        "status": "archived" if hidden else "active",
        "policy_type": dice.pick(("annual", "monthly", "hours_worked", "none")),
        "policy_config": {"hours_per_year": 160, "accrual_period": "year", "accrual_day": "first_day_of_month"},
        "membership_rules": {"countries": ["PL"], "employment_types": []},
    }


def _time_off(organization: Organization, dice: Dice, _number: int, _hidden: bool) -> Fields:  # noqa: FBT001
    begins = organization.midnight(_some_day(dice, organization))
    status = dice.pick(("approved", "denied", "submitted"))
    user_id = _user(dice, organization)
    days = 1 + dice.below(3)
    return {
        "user_id": user_id,
        "time_off_policy_id": 501 + dice.below(9),
        "status": status,
        "all_day": True,
        "starts_at": instant(begins),
        "stops_at": instant(begins + days * DAY),
        "submitted_at": instant(begins - 9 * DAY),
        **({"approved_at": instant(begins - 8 * DAY), "approved_by_id": user_id} if status == "approved" else {}),
        **({"denied_at": instant(begins - 8 * DAY), "denied_by_id": user_id} if status == "denied" else {}),
        "paid": False,
        "amount_used": days * 8 * HOUR,
        "message": dice.pick(TEXTS.notes),
        "created_by_id": user_id,
        # The Swagger has one object here; its own words, and the API, have a list of days.
        "time_off_request_days": [
            {
                "date": organization.date_at(begins + number * DAY).isoformat(),
                "amount_used": 8 * HOUR,
                "starts_at": instant(begins + number * DAY),
                "stops_at": instant(begins + (number + 1) * DAY),
                "holiday": False,
                "paid": False,
            }
            for number in range(days)
        ],
    }


def _holiday(organization: Organization, dice: Dice, number: int, _hidden: bool) -> Fields:  # noqa: FBT001
    return {
        "organization_id": organization.id,
        "name": TEXTS.title(dice),
        "auto_add_new_users": True,
        "paid": dice.chance(50),
        "amount_used": 8 * HOUR,
        "date": (organization.began + timedelta(days=13 * number + dice.below(9))).isoformat(),
    }


def _timesheet(organization: Organization, dice: Dice, number: int, _hidden: bool) -> Fields:  # noqa: FBT001
    first = organization.began + timedelta(days=7 * number)
    status = dice.pick(("open", "submitted", "approved", "denied"))
    made: Fields = {
        "paid": False,
        "user_id": _user(dice, organization),
        "organization_id": organization.id,
        "status": status,
        "keyboard": dice.below(100),
        "mouse": dice.below(100),
        "overall": dice.below(100),
        "tracked": dice.below(3000),
        "input_tracked": dice.below(3000) * 60,
        "start_date": first.isoformat(),
        "stop_date": (first + timedelta(days=6)).isoformat(),
        "locked": status == "approved",
    }
    if status == "approved":
        made["approved_on"] = made["submitted_on"] = (first + timedelta(days=8)).isoformat()
    return made


def _payment(organization: Organization, dice: Dice, number: int, _hidden: bool) -> Fields:  # noqa: FBT001
    first = _some_day(dice, organization)
    amount = f"{dice.below(100_000) / 100:.2f}"
    return {
        # A text, where every other list has a number: the Swagger says so, and so it is.
        "organization_id": str(organization.id),
        "start_date": first.isoformat(),
        "stop_date": (first + timedelta(days=6)).isoformat(),
        "blame_user_id": organization.members[0].user_id,
        "note": dice.pick(TEXTS.notes),
        "tracked": dice.below(40 * HOUR),
        "amount": amount,
        "currency": organization.currency,
        "payment_source": "manual",
        "paid_via_payroll": False,
        "details": [
            {
                "id": 900_000 + organization.id * 100 + number,
                "user_id": _user(dice, organization),
                "project_id": organization.projects[0].id,
                "date": first.isoformat(),
                "tracked": dice.below(8 * HOUR),
                "pay_rate": "12.50",
                "amount": amount,
                "currency": organization.currency,
                "payment_type": "hourly",
            }
        ],
    }


def _invoice(organization: Organization, dice: Dice, number: int) -> Fields:
    issued = _some_day(dice, organization)
    return {
        "organization_id": organization.id,
        "status": dice.pick(("draft", "open", "closed")),
        "author_id": organization.members[0].user_id,
        "number": f"{issued.year}/{number + 1:03}",
        "po_number": "",
        "notes": dice.pick(TEXTS.notes),
        "currency": organization.currency,
        "grand_total": dice.below(10**6) / 100,
        "paid_amount": 0,
        "issue_date": issued.isoformat(),
        "due_date": (issued + timedelta(days=30)).isoformat(),
        "line_items": [
            {
                "id": 800_000 + organization.id * 100 + number,
                "created_at": instant(organization.midnight(issued)),
                "updated_at": instant(organization.midnight(issued)),
                "description": dice.pick(TEXTS.notes),
                "quantity": dice.below(100) / 4,
                "unit_price": 12.5,
                "generated": False,
                "tax_1": False,
                "tax_2": False,
                "discount": False,
            }
        ],
        "viewer_url": f"https://app.example.org/invoices/{dice.below(10**9)}",
    }


def _client_invoice(organization: Organization, dice: Dice, number: int, _hidden: bool) -> Fields:  # noqa: FBT001
    return {**_invoice(organization, dice, number), "client_id": 501 + dice.below(9)}


def _team_invoice(organization: Organization, dice: Dice, number: int, _hidden: bool) -> Fields:  # noqa: FBT001
    return {**_invoice(organization, dice, number), "user_id": _user(dice, organization)}


def _rate(organization: Organization, dice: Dice, _number: int, hidden: bool) -> Fields:  # noqa: FBT001
    first = _some_day(dice, organization)
    made: Fields = {
        "user_id": _user(dice, organization),
        "kind": dice.pick(("pay", "bill")),
        "rate_type": dice.pick(("hourly", "fixed")),
        "rate": f"{dice.below(9000) / 100:.2f}",
        "currency": organization.currency,
        "start_date": first.isoformat(),
        "end_date": (first + timedelta(days=20)).isoformat() if hidden else None,
    }
    return made


def _budget_history(organization: Organization, dice: Dice, number: int, hidden: bool) -> Fields:  # noqa: FBT001
    first = _some_day(dice, organization)
    made: Fields = {"project_id": dice.pick(organization.projects).id} if number % 2 == 0 else {"client_id": 501}
    made |= {"budget": budget(dice, organization), "start_date": first.isoformat(), "spent": dice.below(9000) / 8}
    return {**made, "stop_date": (first + timedelta(days=30)).isoformat()} if hidden else made


def _limit_history(organization: Organization, dice: Dice, _number: int, _hidden: bool) -> Fields:  # noqa: FBT001
    first = _some_day(dice, organization)
    begins = organization.midnight(first)
    return {
        "user_id": _user(dice, organization),
        "limit_type": dice.pick(("daily", "weekly", "expected_per_week")),
        "start_date": first.isoformat(),
        "stop_date": (first + timedelta(days=6)).isoformat(),
        "start_time": instant(begins),
        "stop_time": instant(begins + 7 * DAY),
        "total": 40 * HOUR,
        "used": dice.below(40 * HOUR),
    }


def _rule(organization: Organization, dice: Dice, _number: int, _hidden: bool) -> Fields:  # noqa: FBT001
    return {
        "name": TEXTS.title(dice),
        "enabled": dice.chance(70),
        "frequency": dice.pick(("hourly", "daily", "weekly", "monthly")),
        "metric_type": dice.pick(("work_time", "idle_time", "activity", "manual_time")),
        "condition": dice.pick(("above", "below")),
        "condition_value": dice.below(7200) / 2,
        "time_unit": "per_day",
        "target": {"user_ids": [_user(dice, organization)]},
        "recipients": {"roles": ["owner"]},
        "deliver_by": ["insights", "email"],
    }


def _break(_organization: Organization, dice: Dice, _number: int, _hidden: bool) -> Fields:  # noqa: FBT001
    stamp = instant(1_600_000_000 + dice.below(DAY))
    return {
        "billable": False,
        "description": dice.pick(TEXTS.notes),
        "name": "Lunch 🥪",
        "trackable": True,
        "policy": {
            "id": 1 + dice.below(10**6),
            "policy_duration": 1800,
            "created_at": stamp,
            "updated_at": stamp,
        },
    }


PAPERWORK: Mapping[str, Maker] = {
    "clients": _client,
    "invites": _invite,
    "job_sites": _job_site,
    "attendance_schedules": _schedule,
    "time_off_policies": _policy,
    "time_off_requests": _time_off,
    "holidays": _holiday,
    "timesheets": _timesheet,
    "team_payments": _payment,
    "client_invoices": _client_invoice,
    "team_invoices": _team_invoice,
    "rates": _rate,
    "budget_histories": _budget_history,
    "limit_histories": _limit_history,
    "smart_notification_rules": _rule,
    "work_break_projects": _break,
}
"""How the records of each small list are made."""
