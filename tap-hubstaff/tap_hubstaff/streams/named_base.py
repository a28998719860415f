"""Names beside ids: of the user, project, client and task of each row of work.

An answer can bring the users, projects and tasks of its rows (``include``), deleted ones too, without another request.
Clients have a list of their own, which a run reads once. A name that is unknown is null: nothing fails for a name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
from singer_http.schemas import ApiSchema
from singer_sdk import SchemaDirectory
from typing_extensions import override

from tap_hubstaff import schemas
from tap_hubstaff.streams.window_base import WindowStream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from singer_http.reading.pages import Page
    from singer_sdk.streams import Stream


SETTING = "include_names"
INCLUDE: Mapping[str, str | int] = {"include": "users,projects,tasks"}
NAMES = {"user_name": 0, "project_name": 1, "client_name": 1, "task_name": 2}
"""Each name, and which of the ids of user, project and task it belongs to."""
_NULL = msgspec.Raw(b"null")


class _NamedSchema(ApiSchema):
    """The schema of a stream, with names if ``include_names`` is on."""

    @override
    def get_stream_schema(self, stream: Stream, stream_class: type[Stream]) -> dict[str, Any]:
        schema = super().get_stream_schema(stream, stream_class)
        if not stream.config.get(SETTING):
            return schema
        names = {
            name: {
                "type": ["string", "null"],
                "description": f"Name of the {name.removesuffix('_name')} when the row was read.",
                **({"x-pii": True} if name == "user_name" else {}),
            }
            for name in NAMES
        }
        return {**schema, "properties": {**schema["properties"], **names}}


class NamedStream(WindowStream):
    """Work by user, project and task, with their names if ``include_names`` is on."""

    schema = _NamedSchema(SchemaDirectory(schemas))

    @override
    def query(self, partition: Mapping[str, Any] | None) -> dict[str, str | int]:
        return {**super().query(partition), **(INCLUDE if self.config[SETTING] else {})}

    @override
    def parse(self, body: bytes) -> Page:
        page = super().parse(body)
        return with_names(page, body, self._account.client_names) if self.config[SETTING] else page


class _Named(msgspec.Struct):
    id: int | None = None
    name: msgspec.Raw = _NULL
    summary: msgspec.Raw = _NULL
    client_id: int | None = None


class _Answer(msgspec.Struct):
    users: list[_Named] | None = None
    projects: list[_Named] | None = None
    tasks: list[_Named] | None = None


class _Ids(msgspec.Struct):
    user_id: int | None = None
    project_id: int | None = None
    task_id: int | None = None


_decode_answer = msgspec.json.Decoder(_Answer, strict=False).decode
_decode_ids = msgspec.json.Decoder(list[_Ids], strict=False).decode
_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_named = msgspec.json.Decoder(list[_Named], strict=False).decode


def with_names(page: Page, body: bytes, client_names: Mapping[int | None, msgspec.Raw]) -> Page:
    """The page, with the names in its rows that came in the same answer.

    Args:
        page: The page.
        body: The answer that the page was made of.
        client_names: The names of clients, as JSON, by id.
    """
    try:
        answer, ids, rows = _decode_answer(body), _decode_ids(page.records), _decode_rows(page.records)
    except msgspec.DecodeError:
        return page  # without names; if these are no rows, decoding them will say so
    users = {one.id: one.name for one in answer.users or ()}
    projects = {one.id: one for one in answer.projects or ()}
    tasks = {one.id: one.summary for one in answer.tasks or ()}
    unknown = _Named()
    named_rows = []
    for row, own in zip(rows, ids, strict=True):
        project = projects.get(own.project_id, unknown)
        names = (
            users.get(own.user_id, _NULL),
            project.name,
            client_names.get(project.client_id, _NULL),
            tasks.get(own.task_id, _NULL),
        )
        named_rows.append(
            b'%b,"user_name":%b,"project_name":%b,"client_name":%b,"task_name":%b}'
            % (bytes(memoryview(row))[:-1], *names)
        )
    return replace(page, records=msgspec.Raw(b"[%b]" % b",".join(named_rows)))


def client_names(page: Page) -> dict[int | None, msgspec.Raw]:
    """The names of the clients of a page, as JSON, by id; empty if it does not tell them."""
    try:
        return {one.id: one.name.copy() for one in _decode_named(page.records)}
    except msgspec.DecodeError:
        return {}
