"""Makes the layout of a stream from its settings, its SCHEMA and a template of the channel."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from target_harkster.layout.errors import LayoutError
from target_harkster.layout.inference import Template, inferred_fields
from target_harkster.layout.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from target_harkster.layout.expressions import Expressions
    from target_harkster.vendor.client import Channel, HarksterApi

logger = logging.getLogger(__name__)


def make_layout(  # noqa: PLR0913, PLR0917 - all that a layout comes from
    stream: str,
    config: Mapping[str, Any],
    schema: Mapping[str, Any],
    key_properties: Sequence[str],
    find_channel: Callable[[], Channel],
    api: HarksterApi,
    expressions: Expressions,
) -> Layout:
    """The layout of a stream, from its settings, a template, or its SCHEMA alone. Only a template needs the API.

    Raises:
        LayoutError: It cannot work.
    """
    settings = dict(config["streams"].get(stream, {}))
    if settings.get("template") is not None:
        template = _find_template(stream, settings["template"], find_channel(), api)
        columns = [column for column in schema["properties"] if not column.startswith("_sdc_")]
        fields, unfilled, unused = template.filled(settings.get("fields"), columns)
        settings["fields"] = fields
        if unfilled:
            logger.warning("%s: nothing fills these fields of the template: %s.", stream, ", ".join(unfilled))
        if unused:
            logger.info("%s: these columns are in no field of the template: %s.", stream, ", ".join(unused))
    elif "fields" not in settings:
        settings["fields"] = inferred_fields(schema)
    if not settings.get("name"):
        settings["name"] = stream.replace("{", "(").replace("}", ")")
    numbers = config["numbers_as"] == "number"
    return Layout(stream, settings, schema, key_properties, expressions, numbers=numbers)


def _find_template(stream: str, wanted: str, channel: Channel, api: HarksterApi) -> Template:
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
