"""The Hubstaff API of a running sandbox, as a test sees it: where it is, what opens it, and how to steer it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from typing import Any, TypeVar

import msgspec

from api_sandbox.hubstaff.api import AUTH_PATH, BASE, HubstaffApi
from api_sandbox.hubstaff.scenario import Tracked
from api_sandbox.hubstaff.tokens import PERSONAL
from api_sandbox.truth import Truth

_T = TypeVar("_T")


class HubstaffAddress(msgspec.Struct, frozen=True):
    """Where the Hubstaff API is and what opens it.

    Attributes:
        api_url: Base of the lists, without a slash at the end.
        auth_url: Where refresh tokens are exchanged.
        personal_access_token: A refresh token, used without client credentials.
        organization_token: Goes straight into the requests.
        client_id: Of the OAuth application.
        client_secret: Of the OAuth application.
        refresh_token: Of the OAuth application.
    """

    api_url: str
    auth_url: str
    personal_access_token: str
    organization_token: str
    client_id: str
    client_secret: str
    refresh_token: str

    @classmethod
    def of(cls, root: str, api: HubstaffApi) -> "HubstaffAddress":
        """The address of an API that is served at a root."""
        return cls(root + BASE, root + AUTH_PATH, **msgspec.structs.asdict(api.tokens.credentials))


def truth_of(api: HubstaffApi, streams: Iterable[str] | None = None, since: datetime | None = None) -> Truth:
    """What there is to be read now: nothing of before the time that a list reaches back to.

    Args:
        api: Of which account.
        streams: Of which streams; None for all.
        since: Nothing of before, in streams that grow day by day.
    """
    ids: dict[str, list[str]] = {}
    owned: dict[str, dict[str, list[str]]] = {}
    for stream in api.world.streams() if streams is None else streams:
        distinct: dict[str, None] = {}
        by_organization: defaultdict[str, list[str]] = defaultdict(list)
        for organization, row in api.world.rows(stream, None if since is None else since.timestamp()):
            distinct[row.id] = None
            if organization is not None:
                by_organization[str(organization.id)].append(row.id)
        ids[stream] = list(distinct)
        owned[stream] = dict(by_organization)
    return Truth(ids, owned)


class RunningHubstaff:
    """The Hubstaff API of a running sandbox. All methods can be called from any thread.

    Attributes:
        api_url: See `HubstaffAddress`, as for the six that follow.
    """

    def __init__(self, where: HubstaffAddress, run: Callable[[Callable[[HubstaffApi], Any]], Any]) -> None:
        self.api_url = where.api_url
        self.auth_url = where.auth_url
        self.personal_access_token = where.personal_access_token
        self.organization_token = where.organization_token
        self.client_id = where.client_id
        self.client_secret = where.client_secret
        self.refresh_token = where.refresh_token
        self._run = run

    @property
    def truth(self) -> Truth:
        """What there is to be read: ids by stream, and by stream and organization."""
        return self._do(truth_of)

    def ids(self, stream: str, organization: str | None = None, since: datetime | None = None) -> list[str]:
        """The ids of one stream, which is quicker than everything of a big account.

        Args:
            stream: Its name.
            organization: Id of an organization; None for the whole account.
            since: Nothing of before, in streams that grow day by day; None for as far back as the list reaches.
        """
        found = self._do(lambda api: truth_of(api, [stream], since))
        return found.ids[stream] if organization is None else found.by_organization[stream].get(organization, [])

    def records(self, stream: str) -> list[dict[str, Any]]:
        """Every record of a stream, as a sound API answers it if nothing is hidden."""
        rows = self._do(lambda api: msgspec.json.encode([row.fields() for _owner, row in api.world.rows(stream)]))
        return msgspec.json.decode(rows, type=list[dict[str, Any]])

    @property
    def now(self) -> datetime:
        """The time of the sandbox."""
        return datetime.fromtimestamp(self._do(lambda api: api.world.clock.now()), timezone.utc)

    def advance(self, seconds: float) -> None:
        """Move the clock on: people go on working, tokens grow old, the hour passes, changes are seen."""

        def move(api: HubstaffApi) -> None:
            api.world.clock.advance(seconds)
            api.world.catch_up()

        self._do(move)

    def edit(self, stream: str, count: int, organization: int | None = None) -> list[str]:
        """Change rows now, and give their ids: see `Changes.edit`."""
        return self._do(lambda api: api.changes.edit(stream, count, organization))

    def delete(self, stream: str, count: int, organization: int | None = None) -> list[str]:
        """Delete rows now, for good, and give their ids: see `Changes.delete`."""
        return self._do(lambda api: api.changes.delete(stream, count, organization))

    def add_late(self, count: int, organization: int | None = None, days: int = 30) -> list[str]:
        """Upload activities of the past now, and give their ids: see `Changes.add_late`."""
        return self._do(lambda api: api.changes.add_late(count, organization, days))

    def add(self, tracked: Sequence[Tracked]) -> list[str]:
        """Upload these activities now, and give their ids: see `Changes.add`."""
        return self._do(lambda api: api.changes.add(tracked))

    def used_of_hour(self, application: str = PERSONAL) -> int:
        """How many requests of an application (personal, oauth, organization) count within the last hour."""
        return self._do(lambda api: api.limit.used(application))

    def current_refresh_token(self, kind: str = PERSONAL) -> str:
        """The refresh token of a chain (personal, oauth) that works now; empty once it is revoked."""
        return self._do(lambda api: api.tokens.current(kind))

    def expire_access_tokens(self) -> None:
        """End the life of every access token now; refresh tokens stay."""
        self._do(lambda api: api.tokens.expire_access())

    def reset_tokens(self) -> None:
        """Let the credentials work again that the sandbox began with, and nothing else."""
        self._do(lambda api: api.tokens.reset())

    def _do(self, work: Callable[[HubstaffApi], _T]) -> _T:
        done: _T = self._run(work)
        return done
