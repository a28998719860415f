"""What of the Harkster API a scenario can set."""

from typing import Annotated, Any, Literal

import msgspec

from api_sandbox.harkster.errors import ErrorForm
from api_sandbox.limits import Counts, RetryAfterForm

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Name = Annotated[str, msgspec.Meta(min_length=1)]

Access = Literal["post", "read", "none"]
HeadingName = Literal["both", "heading", "header"]
ValueForm = Literal["both", "strings", "numbers"]
DateForm = Literal["both", "date", "datetime"]
ContinuationEnd = Literal["missing", "empty", "null"]


class TemplatePlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A template of a channel. Its fields are not checked: what is in the app may be older than the rules."""

    name: Name
    fields: tuple[dict[str, Any], ...] = ()


class ChannelPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A channel.

    Attributes:
        name: Need not be unique, nor free of slashes.
        followers: Who is notified of each post.
        access: The user may `post`, only `read`, or not even see it (`none`).
        templates: Its templates.
        history: Posts that somebody else published there before; they count for no quota.
    """

    name: Name
    followers: Count = 3
    access: Access = "post"
    templates: tuple[TemplatePlan, ...] = ()
    history: Count = 0


class WorkspacePlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A workspace and its channels."""

    name: Name
    channels: tuple[ChannelPlan, ...] = ()


class AccountPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account.

    Attributes:
        name: Its name.
        quota: Posts that may be published in a month: 100 on the free tier (guide, Limits).
        used: How many of them are gone at the start.
        workspaces: Its workspaces.
    """

    name: Name
    quota: Count = 100
    used: Count = 0
    workspaces: tuple[WorkspacePlan, ...] = ()


def _fields(heading: str, *typed: tuple[str, str]) -> tuple[dict[str, Any], ...]:
    """Fields of a template, unfilled, with ids from 1 as in the vendor's samples."""
    head: dict[str, Any] = {"type": "header", "id": "1", "label": heading}
    rest = [{"type": kind, "id": str(at), "label": label, "data": None} for at, (kind, label) in enumerate(typed, 2)]
    return (head, *rest)


_STATUS_TEMPLATE = TemplatePlan(
    name="Project Status",
    fields=_fields(
        "Summary", ("status", "Status"), ("progress", "Progress"), ("bulletPoints", "Done"), ("note", "Remarks")
    ),
)
_HOURS_TEMPLATE = TemplatePlan(
    name="Weekly Hours",
    fields=_fields("Hours", ("date", "Week of"), ("number", "Hours"), ("percentage", "Activity"), ("text", "Team")),
)

DEFAULT_ACCOUNTS = (
    AccountPlan(
        name="Acme Inc.",
        workspaces=(
            WorkspacePlan(
                name="Projects",
                channels=(
                    ChannelPlan(name="Weekly Hours", followers=5, templates=(_HOURS_TEMPLATE,)),
                    ChannelPlan(name="Project Status", followers=8, templates=(_STATUS_TEMPLATE,), history=3),
                    ChannelPlan(name="Ops/On-call", followers=2),
                ),
            ),
            WorkspacePlan(
                name="Financials",
                channels=(
                    ChannelPlan(name="Project Status", followers=4),
                    ChannelPlan(name="Forecast", followers=1),
                    ChannelPlan(name="Forecast", followers=6),
                    ChannelPlan(name="Board", followers=9, access="read", history=1),
                    ChannelPlan(name="Salaries", access="none"),
                ),
            ),
        ),
    ),
    AccountPlan(
        name="Computer Club",
        used=11,
        workspaces=(
            WorkspacePlan(name="Events", channels=(ChannelPlan(name="Announcements", followers=40, history=2),)),
            WorkspacePlan(name="Empty room"),
        ),
    ),
)
"""Names that are unique, that are not, and that cannot be split at their slashes."""


class HarksterScenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The accounts, habits and limits of the simulated API. Times are in seconds."""

    accounts: tuple[AccountPlan, ...] = DEFAULT_ACCOUNTS
    access_token: Name | None = None
    """The user's token; made from the seed by default."""
    user: Name = "Bert Smith"

    page_size: Positive = 50
    continuation_end: ContinuationEnd = "missing"
    """The continuation header of the last page."""
    posts_order: Literal["newest", "oldest"] = "newest"
    drafts_listed: bool = True
    """Whether lists have drafts; one draft by its id can always be read."""

    heading: HeadingName = "both"
    """Which names of the heading type are taken: the guide's table says one thing, its samples the other."""
    values: ValueForm = "both"
    """How numbers are taken; the guide's samples have strings."""
    dates: DateForm = "both"
    """How dates are taken; the guide does not tell."""
    returned_values: Literal["as_sent", "strings"] = "as_sent"
    """How numbers come back."""

    write_answers: Literal["post", "id", "nothing"] = "post"
    """What creating and updating answer; the guide shows neither."""
    create_status: Literal[200, 201] = 200
    republish: Literal["notify", "refuse"] = "notify"
    """What publishing a published post does: again with all its effects, or a 409."""
    update_published: Literal["silent", "notify"] = "silent"
    """Whether changing a published post without isDraft notifies the followers, and costs quota, once more."""
    error_form: ErrorForm = "message"

    quota_headers: Literal["always", "writes", "never"] = "always"
    """On which answers X-Harkster-Quota and X-Harkster-Usage are, of those that concern one account."""
    quota_reached_false: bool = False
    """Whether a 429 for too many requests says X-Harkster-Quota-Reached: false, rather than nothing."""
    requests_per_second: Positive | None = 20
    """Limit over every window of one second; None for no limit. The guide tells no figure."""
    rate_limit_counts: Counts = "accepted"
    """Whether refused requests count as well."""
    retry_after: Seconds | None = None
    """Value of Retry-After on a 429 for too many requests; the guide knows none."""
    retry_after_form: RetryAfterForm = "seconds"
    latency: Seconds = 0.0
    """Time on the way of each request: one half there, one half back."""

    def __post_init__(self) -> None:
        """Refuse a scenario in which nothing could be posted to by accident of an empty list."""
        if not any(workspace.channels for account in self.accounts for workspace in account.workspaces):
            raise ValueError("accounts need a channel somewhere")
