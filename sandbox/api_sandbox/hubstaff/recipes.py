"""The words that the recipes of Hubstaff's records have besides those that all recipes have."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import cache

from api_sandbox.hubstaff.clock import DAY, HOUR, MINUTE, instant
from api_sandbox.recipes import Fields, Known, Recipe, Word, load_recipes, look_up

_OFFSET = re.compile(r"([+-][0-9]+)([dhm])")
_SECONDS = {"d": DAY, "h": HOUR, "m": MINUTE}
_TOOLS = ("Chrome", "Excel", "Ολοκληρωμένο", "端末", "VS Code")
_SLOT = 10 * MINUTE


@cache
def recipes() -> Mapping[str, Recipe]:
    """The recipes, by list."""
    return load_recipes("api_sandbox.hubstaff", _WORDS)


@cache
def _offset(text: str) -> int | None:
    """Seconds of an offset such as `-9d`; None for anything else."""
    found = _OFFSET.fullmatch(text)
    return int(found[1]) * _SECONDS[found[2]] if found else None


def _time(known: Known, name: str, offset: str = "+0d") -> str:
    """A time, so long after one that is known: by an offset, or by seconds that are known too."""
    seconds = _offset(offset)
    return instant(look_up(known, name) + (known[offset] if seconds is None else seconds))


def _day(known: Known, name: str, offset: str = "+0d") -> str:
    day: date = look_up(known, name)
    return (day + timedelta(seconds=_offset(offset) or 0)).isoformat()


def _some_day(known: Known) -> date:
    organization = known["organization"]
    days = (organization.today - organization.began).days + 1
    day: date = organization.began + timedelta(days=known["dice"].below(days))
    return day


def _day_or_ahead(known: Known) -> date:
    """A day of the past, or one to come: work is planned ahead."""
    ahead: date = known["organization"].today + timedelta(days=known["dice"].below(30))
    return ahead if known["dice"].chance(30) else _some_day(known)


def _past(known: Known) -> Fields:
    """When a record was created and updated that exists from the start."""
    organization = known["organization"]
    created = organization.midnight(organization.began) - DAY + known["dice"].below(DAY // 2)
    updated = created + known["dice"].below(max(int(known["start"]) - created, 1))
    return {"created_at": instant(created), "updated_at": instant(updated)}


def _trackable(known: Known) -> bool | str:
    drawn: str = known["dice"].pick(("true", "false", "viewer"))
    form = known["scenario"].trackable
    as_text = form == "string" or (form == "mixed" and known["dice"].chance(50))
    return drawn if as_text or drawn == "viewer" else drawn == "true"


def _days_off(known: Known) -> Fields:
    organization, begins = known["organization"], known["_begins"]
    starts = range(begins, begins + known["_days"] * DAY, DAY)
    return {
        "stops_at": instant(starts.stop),
        "amount_used": len(starts) * 8 * HOUR,
        # The Swagger has one object here; its own words, and the API, have a list of days.
        "time_off_request_days": [
            {
                "date": organization.date_at(start).isoformat(),
                "amount_used": 8 * HOUR,
                "starts_at": instant(start),
                "stops_at": instant(start + DAY),
                "holiday": False,
                "paid": False,
            }
            for start in starts
        ],
    }


def _spaced(known: Known, days: int, spread: int) -> date:
    """A day for each number, so many days after the one before."""
    began: date = known["organization"].began
    return began + timedelta(days=days * known["number"] + known["dice"].below(spread))


def _ids(projects: Sequence[object]) -> list[int]:
    return [project.id for project in projects]  # type: ignore[attr-defined]


_WORDS: Mapping[str, Word] = {
    "past": _past,
    "some_day": _some_day,
    "day_or_ahead": _day_or_ahead,
    "midnight": lambda known, name: known["organization"].midnight(look_up(known, name)),
    "day": _day,
    "time": _time,
    "slot_of_at": lambda known: instant(known["at"] - known["at"] % _SLOT),
    "spaced": _spaced,
    "days_off": _days_off,
    "numbered": lambda known, first: first + known["organization"].id * 100 + known["number"],
    "hidden": lambda known, hidden, shown: hidden if known["hidden"] else shown,
    "user": lambda known: known["dice"].pick(known["organization"].members).user_id,
    "some_project": lambda known: known["dice"].pick(known["organization"].projects).id,
    "first_projects": lambda known: _ids(known["organization"].projects[:2]),
    "every_fourth_project": lambda known: _ids(known["organization"].projects[known["number"] :: 4]),
    "assignees": lambda known: [
        member.user_id for member in known["organization"].members if known["project"] in member.projects
    ][:2],
    "trackable": _trackable,
    "tool": lambda known: known["dice"].pick(_TOOLS),
    "used_tool": lambda known: {known["dice"].pick(_TOOLS): known["dice"].below(600)},
}
