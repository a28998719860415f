"""What a test or a demo in another process can ask of the simulated Harkster and do to it."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from api_sandbox.harkster.api import HarksterApi
from api_sandbox.harkster.scenario import ChannelPlan, Count, TemplatePlan

Control = Callable[[Mapping[str, str], bytes], Any]
"""Takes the parameters and the body of a request; gives what is answered, None for nothing."""


class _Quota(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST quota`."""

    account: str
    quota: Count | None = None
    used: Count | None = None


class _NewChannel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST channels`."""

    workspace: str
    channel: ChannelPlan


class _NewTemplate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST templates`."""

    channel: str
    template: TemplatePlan


def harkster_controls(api: HarksterApi) -> list[tuple[str, str, Control]]:
    """Method, path and work of each endpoint."""
    service = api.service

    def truth(params: Mapping[str, str], _body: bytes) -> Any:
        found = api.truth()
        if "channel" not in params:
            return found
        wanted = service.directory.channel(params["channel"]).id
        return msgspec.structs.replace(found, posts={wanted: found.posts[wanted]})

    def channels(_params: Mapping[str, str], _body: bytes) -> Any:
        return [
            {"id": channel.id, "path": channel.path, "followers": channel.followers, "access": channel.access}
            for channel in service.directory.channels()
        ]

    def quota(_params: Mapping[str, str], body: bytes) -> None:
        new = msgspec.json.decode(body, type=_Quota)
        service.set_quota(new.account, quota=new.quota, used=new.used)

    def month(_params: Mapping[str, str], _body: bytes) -> None:
        service.clock.to_next_month()

    def revoke(_params: Mapping[str, str], _body: bytes) -> None:
        api.revoke()

    def add_channel(_params: Mapping[str, str], body: bytes) -> Any:
        new = msgspec.json.decode(body, type=_NewChannel)
        return {"id": service.add_channel(service.directory.workspace(new.workspace), new.channel).id}

    def add_template(_params: Mapping[str, str], body: bytes) -> Any:
        new = msgspec.json.decode(body, type=_NewTemplate)
        return {"id": service.directory.add_template(service.directory.channel(new.channel), new.template).id}

    return [
        ("GET", "/truth", truth),
        ("GET", "/channels", channels),
        ("POST", "/quota", quota),
        ("POST", "/month", month),
        ("POST", "/token/revoke", revoke),
        ("POST", "/channels", add_channel),
        ("POST", "/templates", add_template),
    ]
