"""The settings of the tap, and what can be wrong with them that their JSON schema cannot tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_http.checked_settings import api_errors, is_postgres_url
from singer_http.settings import LINE, LONGEST, WORD, shared_settings
from singer_sdk import typing as th

from tap_hubstaff.client import DEFAULT_URL, LONGEST_PAGE
from tap_hubstaff.request_quota import REQUESTS_PER_HOUR
from tap_hubstaff.times import DAY, parse_iso

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT_LOOKBACK = 2
MOST_DAYS = 36_500
"""A century: more would begin before the calendar does."""
DEFAULT_LINKS_AGE = 12 * 60 * 60
"""Half a day: runs by the hour seldom pay for it, and runs by the day always do."""
DEFAULT_PARALLEL = 4
"""More would only use up the hour's requests sooner, and leave more pages behind where a run is cut off."""

_IDS = th.ArrayType(th.IntegerType(minimum=1))

SETTINGS: dict[str, Any] = th.PropertiesList(
    th.Property(
        "personal_access_token",
        th.StringType(pattern=WORD),
        secret=True,
        title="Personal access token",
        description=(
            "A personal access token from developer.hubstaff.com. It is a refresh token of 90 days and works once; the"
            " tap keeps the tokens that follow in token_path."
        ),
    ),
    th.Property(
        "access_token",
        th.StringType(pattern=WORD),
        secret=True,
        title="Organization token",
        description="A token of an organization (hsoat_...). Set it instead of a personal access token.",
    ),
    th.Property(
        "refresh_token",
        th.StringType(pattern=WORD),
        secret=True,
        title="Refresh token",
        description="The refresh token of your own OAuth application. Set it instead of a personal access token.",
    ),
    th.Property(
        "client_id",
        th.StringType(pattern=LINE),
        secret=True,
        title="Client ID",
        description="The client id of the application that refresh_token belongs to.",
    ),
    th.Property(
        "client_secret",
        th.StringType(pattern=LINE),
        secret=True,
        title="Client secret",
        description="The secret that belongs to the client id.",
    ),
    th.Property(
        "token_path",
        th.StringType(min_length=1),
        title="Folder for tokens",
        description=(
            "Folder for refresh tokens, which change with every use, and for the count of requests of the last hour."
            " Keep it from run to run: without it, you must create a new token. The default is a folder in the user's"
            " state directory."
        ),
    ),
    th.Property(
        "token_url",
        th.StringType,
        secret=True,
        title="Token URL of a database",
        description=(
            "A database for refresh tokens, in the place of token_path, for runs on several machines:"
            " postgresql://user:password@host/database (needs the extra postgres)."
        ),
    ),
    th.Property(
        "api_url",
        th.StringType,
        default=DEFAULT_URL,
        title="API URL",
        description="Base URL of the API, with its version.",
    ),
    th.Property(
        "auth_url",
        th.StringType,
        title="Token URL",
        description="URL that gives access tokens. The default is Hubstaff's.",
    ),
    th.Property(
        "start_date",
        th.DateType,
        title="Start date",
        description=(
            "Date or time (ISO 8601, UTC) from which data is read. Hubstaff keeps some data for a month, six months or"
            " three years only. The default is all that it keeps, up to three years."
        ),
    ),
    th.Property(
        "end_date",
        th.DateType,
        title="End date",
        description="The last day to read, for an extract that does not continue. The default is today.",
    ),
    th.Property(
        "lookback_days",
        th.IntegerType(minimum=0, maximum=MOST_DAYS),
        default=DEFAULT_LOOKBACK,
        title="Lookback",
        description=(
            "Each run reads so many days before the last run again, in streams without a list of updates, to find late"
            " uploads and changes. In work sessions, it finds deletions of those days."
        ),
    ),
    th.Property(
        "reread_days",
        th.IntegerType(minimum=0, maximum=MOST_DAYS),
        default=0,
        title="Days to read again",
        description=(
            "Each run reads activities, daily activities and work sessions of the last so many days again, besides"
            " their updates. Hubstaff does not report deletions: work sessions are then built without the deleted work."
        ),
    ),
    th.Property(
        "organization_ids",
        _IDS,
        title="Organization IDs",
        description="Read only these organizations. The default is every organization that your credentials show.",
    ),
    th.Property(
        "user_ids",
        _IDS,
        title="User IDs",
        description="Read only what belongs to these users, in streams that Hubstaff can filter by user.",
    ),
    th.Property(
        "project_ids",
        _IDS,
        title="Project IDs",
        description="Read only what belongs to these projects, in streams that Hubstaff can filter by project.",
    ),
    th.Property(
        "task_ids",
        _IDS,
        title="Task IDs",
        description="Read only what belongs to these tasks, in streams that Hubstaff can filter by task.",
    ),
    th.Property(
        "include_names",
        th.BooleanType,
        default=False,
        title="Include names",
        description=(
            "Add user_name, project_name, client_name and task_name to activities, daily_activities and time_sessions,"
            " as they were at the time of reading, also for what was deleted. This takes no more requests, except for"
            " the list of clients if you do not read the stream clients."
        ),
    ),
    th.Property(
        "links_max_age",
        th.IntegerType(minimum=0, maximum=LONGEST),
        default=DEFAULT_LINKS_AGE,
        title="Links: maximum age",
        description=(
            "Read the members and projects of a team, and the links and tasks of an integration, again after so many"
            " seconds, even if the team or integration looks unchanged: Hubstaff may not show every change there. 0"
            " reads them in every run."
        ),
    ),
    th.Property(
        "refresh",
        th.ObjectType(additional_properties=th.IntegerType(minimum=0, maximum=LONGEST)),
        title="Refresh",
        description=(
            "How many seconds old the rows of a stream may be, by stream; * stands for all other streams. A run skips"
            " a stream that was read more recently. The default is 0, which reads every stream. A read that was cut off"
            " always continues."
        ),
    ),
    th.Property(
        "page_size",
        th.IntegerType(minimum=1, maximum=LONGEST_PAGE),
        default=LONGEST_PAGE,
        title="Page size",
        description="Records in one page.",
    ),
    th.Property(
        "requests_per_hour",
        th.IntegerType(minimum=1, maximum=1_000_000),
        default=REQUESTS_PER_HOUR,
        title="Requests per hour",
        description=(
            "The most requests in any hour, earlier runs included. Hubstaff allows 1,000, which is also the most that"
            " you can set, except for an api_url on this machine. Set less if other programs use the same application."
        ),
    ),
    th.Property(
        "on_quota",
        th.StringType(allowed_values=["wait", "stop"]),
        default="wait",
        title="When the requests are used up",
        description=(
            "What to do when the hour's requests are used up. wait continues when more are allowed. stop ends the run"
            " with its state and exit code 0, and the next run continues."
        ),
    ),
    *shared_settings(DEFAULT_PARALLEL),
).to_dict()


def setting_errors(config: Mapping[str, Any]) -> Iterator[str]:
    """Sentences on what is wrong with the settings; each names its setting."""
    yield from _credential_errors(config)
    yield from api_errors(config, "requests_per_hour", REQUESTS_PER_HOUR)
    if not is_postgres_url(config.get("token_url", "postgres://host")):
        yield "token_url is not valid: it must be such as postgresql://user:password@host/database."
    dates = {}
    for setting in ("start_date", "end_date"):
        if config.get(setting) is not None:
            try:
                moment = parse_iso(config[setting])
                _ = moment + DAY  # the end of that day has to be a time too
                dates[setting] = moment
            except (ValueError, OverflowError):
                yield f"{setting} is not valid: it must be a date or time such as 2026-01-31 or 2026-01-31T12:00:00Z."
    if "end_date" in dates and dates["end_date"] + DAY <= dates.get("start_date", dates["end_date"]):
        yield "end_date is not valid: it is before start_date."


def _credential_errors(config: Mapping[str, Any]) -> Iterator[str]:
    ways = [way for way in ("personal_access_token", "access_token", "refresh_token") if config.get(way)]
    if not ways:
        yield "One of personal_access_token, access_token and refresh_token must be set."
    elif len(ways) > 1:
        yield f"{' and '.join(ways)} are set: set the one that is to be used."
    elif ways == ["refresh_token"] and not (config.get("client_id") and config.get("client_secret")):
        yield "refresh_token needs client_id and client_secret: they belong to the same application."
    elif config.get("personal_access_token", "").startswith("hsoat_"):
        yield "personal_access_token holds a token of an organization: set access_token instead."
