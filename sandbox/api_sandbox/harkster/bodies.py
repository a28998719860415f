"""What clients send: the bodies of writes, checked (guide, Posts)."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec

from api_sandbox.api import Refused
from api_sandbox.harkster.fields import Dataset, Rules, check_dataset
from api_sandbox.tokens import media_type

_ATTRIBUTES = frozenset({"data", "isDraft", "name"})


@dataclass(frozen=True, slots=True)
class Content:
    """What a post shall be."""

    dataset: Dataset
    draft: bool
    name: str | None


def read_content(content_type: str, body: bytes, rules: Rules) -> Content:
    """The body of a POST or PUT of a post."""
    sent = _object(content_type, body)
    unknown = sent.keys() - _ATTRIBUTES
    if unknown:
        raise Refused(HTTPStatus.BAD_REQUEST, f"unknown attributes: {', '.join(sorted(unknown))}")
    draft, name, data = sent.get("isDraft", False), sent.get("name", ""), sent.get("data")
    if not isinstance(draft, bool):
        raise Refused(HTTPStatus.BAD_REQUEST, "isDraft must be true or false")
    if not isinstance(name, str):
        raise Refused(HTTPStatus.BAD_REQUEST, "name must be a string")
    if not isinstance(data, dict) or data.keys() != {"type", "dataset"} or data["type"] != "fields":
        raise Refused(HTTPStatus.BAD_REQUEST, "data must be an object with the type fields, a dataset and nothing else")
    check_dataset(data["dataset"], rules)
    return Content(data["dataset"], draft, name if "name" in sent else None)


def read_recall(content_type: str, body: bytes) -> bool:
    """The body of a DELETE: whether the post is taken out of the followers' timelines."""
    sent = _object(content_type, body)
    recall = sent.get("recallMessage")
    if sent.keys() != {"recallMessage"} or not isinstance(recall, bool):
        raise Refused(HTTPStatus.BAD_REQUEST, "recallMessage is required, true or false, and nothing else")
    return recall


def _object(content_type: str, body: bytes) -> dict[str, Any]:
    if media_type(content_type) != "application/json":
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the Content-Type must be application/json")
    try:
        sent = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}") from error
    if not isinstance(sent, dict):
        raise Refused(HTTPStatus.BAD_REQUEST, "the body must be an object")
    return sent
