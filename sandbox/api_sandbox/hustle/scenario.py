"""What of the Hustle API a scenario can set."""

from typing import Annotated, Literal

import msgspec

from api_sandbox.limits import Counts, RetryAfterForm

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, lt=1)]
Weights = tuple[Annotated[float, msgspec.Meta(ge=0)], ...]

CursorKind = Literal["sequential", "offsets", "opaque", "drifting"]


class Forbidden(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the account that the credentials may not read: answered with 403.

    Attributes:
        path: `*` or the path of a list (`/leads`).
        organizations: Indices of organizations, asked for with `organizationId`; None forbids the path as a
            whole. A list without `organizationId` is not concerned by forbidden organizations.
    """

    path: str = "*"
    organizations: tuple[Count, ...] | None = None


class HustleScenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Size, habits and limits of the simulated account. Times are in seconds."""

    organizations: Count = 3
    """Organizations of the account, the empty ones included."""
    empty_organizations: Count = 0
    """So many of them, the last ones, own nothing at all."""
    groups: Count = 3
    """In each organization that is not empty, as are the four that follow."""
    agents: Count = 4
    tags: Count = 5
    custom_fields: Count = 4
    integrations: Count = 1
    account_tags: Count = 2
    """Tags of the account as a whole, without organizationId."""
    account_custom_fields: Count = 2
    """Custom fields of the account as a whole, without organizationId."""
    webhook_registrations: Count = 3
    """In the account."""
    leads: Count = 100
    """In the account, spread as `lead_shares` says."""
    lead_shares: Literal["even", "halving"] | Weights = "even"
    """Spread of the leads: evenly, each organization half of the one before it, or by weights, in order."""
    type_spelling: Literal["spec", "guide", "mixed"] = "mixed"
    """`type` values: `organization` in the vendor's spec, `Organization` in the vendor's guide."""
    new_enum_values: bool = False
    """Some enums have values that the spec does not know yet."""
    warm: bool = False
    """Serialise all leads before the server is ready, so that nothing is left to do while it serves."""

    cursors: CursorKind = "sequential"
    """What cursors look like: see `api_sandbox.hustle.cursors`."""
    drift_after: Positive = 3
    """`drifting`: sequential cursors lead to so many pages, the first included; the later ones are opaque."""
    last_page_cursor: bool = True
    """The last page has a cursor although hasMore is false, as in the vendor's example."""
    unissued_cursors: Literal["serve", "refuse"] = "serve"
    """Whether a well-formed cursor that the server never gave for the query works."""
    short_pages: Share = 0.0
    """Share of pages with fewer items than the limit, with more to come; some are empty, save under `offsets`
    and `opaque`, whose cursors count items and so could not move on."""

    latency: Seconds = 0.0
    """Time on the way of each resource request: one half there, one half back."""
    latency_jitter: Seconds = 0.0
    """At most so much more on the way there, at random: squeezes requests together, as networks do."""
    requests_per_second: Positive | None = 25
    """Limit over every window of one second; None for no limit."""
    rate_limit_counts: Counts = "accepted"
    """Whether refused requests count as well."""
    retry_after: Seconds | None = None
    """Value of Retry-After on a 429; the vendor documents none, so none by default."""
    retry_after_form: RetryAfterForm = "seconds"

    client_id: str | None = None
    """Credentials; made from the seed by default."""
    client_secret: str | None = None
    token_lifetime: Seconds = 7200.0
    """How long a token works."""
    expires_in: Seconds | None = None
    """What is told of it, if not the truth."""
    failed_logins: Positive = 10
    """Failed attempts after which a caller is blocked for the account."""
    failed_logins_a_day: Positive = 100
    """Failed attempts in 24 hours after which a caller is blocked altogether."""
    block_seconds: Seconds = 900.0
    """How long the block for the account lasts; the vendor says 'some period of time'."""
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
