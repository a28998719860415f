"""Where the APIs of a sandbox are and what opens them."""

import msgspec

from api_sandbox.control import CONTROL_PREFIX
from api_sandbox.harkster.routes import BASE as HARKSTER_BASE
from api_sandbox.harkster.routes import ROOT as HARKSTER_ROOT
from api_sandbox.hubstaff.api import AUTH_PATH as HUBSTAFF_AUTH_PATH
from api_sandbox.hubstaff.api import BASE as HUBSTAFF_BASE
from api_sandbox.hubstaff.tokens import HubstaffCredentials
from api_sandbox.hustle.api import AUTH_PATH, BASE
from api_sandbox.hustle.tokens import Credentials
from api_sandbox.sandbox import Sandbox


class HustleAddress(Credentials, frozen=True, kw_only=True):
    """The Hustle API.

    Attributes:
        api_url: Base of the lists, without a slash at the end.
    """

    api_url: str
    auth_url: str


class HubstaffAddress(HubstaffCredentials, frozen=True, kw_only=True):
    """The Hubstaff API.

    Attributes:
        api_url: Base of the lists, without a slash at the end.
        auth_url: Where refresh tokens are exchanged.
    """

    api_url: str
    auth_url: str


class HarksterAddress(msgspec.Struct, frozen=True, kw_only=True):
    """The Harkster API.

    Attributes:
        api_url: Base of the API, without a slash at the end.
        page_url: A page that shows what was posted.
    """

    api_url: str
    access_token: str
    page_url: str
    first_channel: str = msgspec.field(name="channel")


class Addresses(msgspec.Struct, frozen=True):
    """What a client needs to know of a running sandbox."""

    hustle: HustleAddress
    hubstaff: HubstaffAddress
    harkster: HarksterAddress
    control_url: str


def addresses(sandbox: Sandbox, root: str) -> Addresses:
    """Where a sandbox is that is served at a root URL."""
    hustle, hubstaff, harkster = sandbox.hustle, sandbox.hubstaff, sandbox.harkster
    of_hustle, of_hubstaff = (msgspec.structs.asdict(one) for one in (hustle.credentials, hubstaff.tokens.credentials))
    return Addresses(
        HustleAddress(api_url=root + BASE, auth_url=root + AUTH_PATH, **of_hustle),
        HubstaffAddress(api_url=root + HUBSTAFF_BASE, auth_url=root + HUBSTAFF_AUTH_PATH, **of_hubstaff),
        HarksterAddress(
            api_url=root + HARKSTER_BASE,
            access_token=harkster.access_token,
            page_url=f"{root}{HARKSTER_ROOT}/",
            first_channel=next(iter(harkster.service.directory.channels())).id,
        ),
        root + CONTROL_PREFIX,
    )
