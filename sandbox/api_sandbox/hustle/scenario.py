"""What of the Hustle API a scenario can set."""

from typing import Annotated, Literal

import msgspec

from api_sandbox.limits import Counts, RetryAfterForm
from api_sandbox.settings import Count, ForbiddenParts, Positive, Seconds, Settings

Weights = tuple[Annotated[float, msgspec.Meta(ge=0)], ...]

CursorKind = Literal["sequential", "offsets", "opaque", "drifting"]


class Forbidden(ForbiddenParts, frozen=True, kw_only=True):
    """What the credentials may not read: answered with 403.

    Attributes:
        path: `*` or the path of a list (`/leads`). Asked for without `organizationId` it is not forbidden by parts.
    """

    path: str = "*"


class HustleScenario(Settings, frozen=True, kw_only=True):
    """Size, habits and limits of the simulated account: the README says what each means."""

    organizations: Count = 3
    empty_organizations: Count = 0
    groups: Count = 3
    agents: Count = 4
    tags: Count = 5
    custom_fields: Count = 4
    integrations: Count = 1
    account_tags: Count = 2
    account_custom_fields: Count = 2
    webhook_registrations: Count = 3
    leads: Count = 100
    lead_shares: Literal["even", "halving"] | Weights = "even"
    type_spelling: Literal["spec", "guide", "mixed"] = "mixed"
    new_enum_values: bool = False
    warm: bool = False

    cursors: CursorKind = "sequential"
    drift_after: Positive = 3
    last_page_cursor: bool = True
    unissued_cursors: Literal["serve", "refuse"] = "serve"
    short_pages: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0

    latency: Seconds = 0.0
    latency_jitter: Seconds = 0.0
    requests_per_second: Positive | None = 25
    rate_limit_counts: Counts = "accepted"
    retry_after: Seconds | None = None
    retry_after_form: RetryAfterForm = "seconds"

    client_id: str | None = None
    client_secret: str | None = None
    token_lifetime: Seconds = 7200.0
    expires_in: Seconds | None = None
    failed_logins: Positive = 10
    failed_logins_a_day: Positive = 100
    block_seconds: Seconds = 900.0
    forbidden: tuple[Forbidden, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be: agents belong to a group, leads to an organization."""
        filled = self.organizations - self.empty_organizations
        if filled < 0:
            raise ValueError("empty_organizations is more than organizations")
        if self.agents and not self.groups:
            raise ValueError("agents need groups: each agent belongs to one")
        if self.leads and not filled:
            raise ValueError("leads need an organization that is not empty")
        if isinstance(self.lead_shares, tuple):
            if len(self.lead_shares) > filled:
                raise ValueError("lead_shares has more weights than there are organizations that are not empty")
            if self.leads and not sum(self.lead_shares):
                raise ValueError("lead_shares has no weight above 0")
