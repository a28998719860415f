"""What of the Harkster API a scenario can set."""

from typing import Any, Literal

import msgspec

from api_sandbox.harkster.errors import ErrorForm
from api_sandbox.limits import Counts, RetryAfterForm
from api_sandbox.recipes import load_yaml
from api_sandbox.settings import Count, Name, Positive, Seconds, Settings

Access = Literal["post", "read", "none"]
HeadingName = Literal["both", "heading", "header"]
ValueForm = Literal["both", "strings", "numbers"]
DateForm = Literal["both", "date", "datetime"]
ContinuationEnd = Literal["missing", "empty", "null"]


class TemplatePlan(Settings, frozen=True, kw_only=True):
    """A template of a channel. Its fields are not checked: what is in the app may be older than the rules."""

    name: Name
    fields: tuple[dict[str, Any], ...] = ()


class ChannelPlan(Settings, frozen=True, kw_only=True):
    """A channel.

    Attributes:
        name: Need not be unique, nor free of slashes.
        access: The user may `post`, only `read`, or not even see it (`none`).
        history: Posts that somebody else published there before; they count for no quota.
    """

    name: Name
    access: Access = "post"
    templates: tuple[TemplatePlan, ...] = ()
    history: Count = 0


class WorkspacePlan(Settings, frozen=True, kw_only=True):
    """A workspace and its channels."""

    name: Name
    channels: tuple[ChannelPlan, ...] = ()


class AccountPlan(Settings, frozen=True, kw_only=True):
    """An account.

    Attributes:
        quota: Posts that may be published in a month: 100 on the free tier (guide, Limits).
        used: How many of them are gone at the start.
    """

    name: Name
    quota: Count = 100
    used: Count = 0
    workspaces: tuple[WorkspacePlan, ...] = ()


DEFAULT_ACCOUNTS = msgspec.convert(load_yaml("api_sandbox.harkster", "accounts.yml"), tuple[AccountPlan, ...])


class HarksterScenario(Settings, frozen=True, kw_only=True):
    """The accounts, habits and limits of the simulated API: the README says what each means."""

    accounts: tuple[AccountPlan, ...] = DEFAULT_ACCOUNTS
    access_token: Name | None = None
    user: Name = "Bert Smith"

    page_size: Positive = 50
    continuation_end: ContinuationEnd = "missing"
    posts_order: Literal["newest", "oldest"] = "newest"
    posts_paging: Literal["stable", "offset"] = "stable"
    drafts_listed: bool = True

    heading: HeadingName = "both"
    values: ValueForm = "both"
    dates: DateForm = "both"
    returned_values: Literal["as_sent", "strings"] = "as_sent"

    write_answers: Literal["post", "id", "nothing"] = "post"
    create_status: Literal[200, 201] = 200
    republish: Literal["notify", "refuse"] = "notify"
    update_published: Literal["silent", "notify"] = "silent"
    error_form: ErrorForm = "message"

    quota_headers: Literal["always", "writes", "never"] = "always"
    quota_reached_false: bool = False
    requests_per_second: Positive | None = 20
    rate_limit_counts: Counts = "accepted"
    retry_after: Seconds | None = None
    retry_after_form: RetryAfterForm = "seconds"
    latency: Seconds = 0.0

    def __post_init__(self) -> None:
        """Refuse a scenario in which nothing could be posted to by accident of an empty list."""
        if not any(workspace.channels for account in self.accounts for workspace in account.workspaces):
            raise ValueError("accounts need a channel somewhere")
