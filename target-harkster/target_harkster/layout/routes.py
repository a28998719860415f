"""Where the rows of a stream go, and what they become there: settings brought together with what the API tells."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from singer_http.http.errors import ConfigurationError

from target_harkster.layout.errors import LayoutError
from target_harkster.layout.inference import Template, inferred_fields
from target_harkster.layout.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from target_harkster.delivery.channels import Channels
    from target_harkster.layout.expressions import Expressions
    from target_harkster.vendor.client import Channel, HarksterApi

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """Where the rows of a stream go.

    Attributes:
        column: The column that says so, if one does.
        channels: By what is in that column; without one, the only channel by the empty string.
    """

    column: str | None
    channels: Mapping[str, Channel]


def find_route(stream: str, config: Mapping[str, Any], channels: Channels) -> Route:
    """Find the channels of a stream, and open them.

    Raises:
        ConfigurationError: The settings name none, or one that cannot be used.
    """
    wanted = config["streams"].get(stream, {}).get("channel")
    setting = f"streams.{stream}.channel" if wanted else "channel"
    wanted = wanted or config.get("channel")
    if wanted is None:
        raise ConfigurationError(f"channel must be set, or streams.{stream}.channel: nothing says where {stream} goes.")
    if isinstance(wanted, str):
        route = Route(None, {"": channels.find(wanted, setting)})
    else:
        route = Route(wanted["column"], {name: channels.find(name, setting) for name in wanted["allowed"]})
    for channel in route.channels.values():
        channels.open(channel)
    return route


def make_layout(  # noqa: PLR0913, PLR0917 - all that a layout comes from
    stream: str,
    config: Mapping[str, Any],
    schema: Mapping[str, Any],
    key_properties: Sequence[str],
    template: Template | None,
    expressions: Expressions,
) -> Layout:
    """The layout of a stream, from its settings, a template, or its SCHEMA alone.

    Raises:
        LayoutError: It cannot work.
    """
    settings = dict(config["streams"].get(stream, {}))
    if template is not None:
        columns = [column for column in schema["properties"] if not column.startswith("_sdc_")]
        fields, unfilled, unused = template.filled(settings.get("fields"), columns)
        settings["fields"] = fields
        if unfilled:
            logger.warning("%s: nothing fills these fields of the template: %s.", stream, ", ".join(unfilled))
        if unused:
            logger.info("%s: these columns are in no field of the template: %s.", stream, ", ".join(unused))
    elif "fields" not in settings:
        if settings.get("group_by"):
            raise LayoutError(stream, None, "group_by needs fields: what is to be shown of many rows is not inferred")
        settings["fields"] = inferred_fields(schema)
    if not settings.get("name"):
        settings["name"] = stream.replace("{", "(").replace("}", ")")
    numbers = config["numbers_as"] == "number"
    return Layout(stream, settings, schema, key_properties, expressions, numbers=numbers)


def find_template(stream: str, wanted: str, channel: Channel, api: HarksterApi) -> Template:
    """The template of an id or name.

    Raises:
        LayoutError: There is none, or more than one.
    """
    templates = api.templates(channel.id)
    found = [at for at in templates if at[0] == wanted] or [at for at in templates if at[1] == wanted]
    if len(found) != 1:
        listed = ", ".join(f"{name} ({template_id})" for template_id, name in templates) or "none"
        many = "is the name of several templates" if found else "is no template"
        raise LayoutError(stream, None, f"{wanted} {many} of {channel.path}, which has {listed}")
    return Template(stream, found[0][1], api.template(channel.id, found[0][0]))
