from typing import Any

import pytest
from api_sandbox.api import Refused
from api_sandbox.harkster.bodies import read_content, read_recall
from api_sandbox.harkster.fields import Rules, check_dataset
from msgspec import json

RULES = Rules(heading="both", values="both", dates="both")
GBP = {"ccy": "GBP"}


def field(kind: str, data: Any = ..., **more: Any) -> dict[str, Any]:
    made = {"type": kind, "id": "1", "label": "A label", "name": "A name", **more}
    return made if data is ... else made | {"data": data}


@pytest.mark.parametrize(
    "sound",
    [
        *(field(kind, data) for kind in ("number", "percentage") for data in (..., None, "-1.50", "007", 3, 2.5, "0")),
        *(field("currency", data, options=GBP) for data in (..., None, "12.30", 12)),
        *(field("counter", data) for data in (..., None, "12", -3, 0)),
        *(field("text", data) for data in (..., None, "", "one line", "tab\there", "é\u2028")),
        *(field(kind, data) for kind in ("note", "bulletPoints", "snippet") for data in (..., None, "", "a\nb\r\n")),
        {"type": "heading", "label": "Only a label"},
        {"type": "header", "id": "h", "label": "Only a label", "data": None},
        {"type": "divider"},
        {"type": "divider", "id": "d", "label": None},
        *(field("date", data) for data in (..., None, "2024-02-29", "2024-02-29T23:59:59Z")),
        *(field("date", f"2024-02-29T23:59:59{end}") for end in ("+05:30", ".1Z", ".123456789-08:00")),
        *(field("status", data) for data in (..., None, "grey", "green", "amber", "red")),
        *(field("progress", data) for data in (0, 100, "0", "100", "33.3", 99.9)),
        field("text", "x", options={}),
        field("text", "x", options=None),
        {"type": "text"},
    ],
    ids=json.encode,
)
def test_a_field_that_is_taken(sound: dict[str, Any]) -> None:
    check_dataset([sound], RULES)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("text", "must be an object"),
        ({}, "type None is unknown"),
        ({"type": ["text"]}, "is unknown"),
        (field("Text"), "type 'Text' is unknown"),
        (field("text", colour="red"), "unknown attributes: colour"),
        (field("text", id=1), "id must be a string"),
        (field("text", id=""), "id '' is empty"),
        (field("text", label=1), "label must be a string"),
        (field("text", name=[]), "name must be a string"),
        *(
            (field("number", data), "is not a number")
            for data in ("", " 1", "1e3", "1,000", "+1", ".5", "1.", "½", "٣")
        ),
        *((field("percentage", data), "is not a number") for data in ("12%", "NaN", "Infinity")),
        *((field("percentage", data), "is not a number") for data in (True, ["1"])),
        (field("currency", "1"), "needs options"),
        (field("currency", options={}), "needs options"),
        (field("currency", "1", options=GBP | {"more": 1}), "needs options"),
        *(
            (field("currency", "1", options={"ccy": ccy}), "code of a currency")
            for ccy in ("gbp", "£", "", None, "EURO")
        ),
        (field("currency", "GBP 1", options=GBP), "is not a number"),
        *((field("counter", data), "is not a whole number") for data in ("1.0", 1.0, 1.5)),
        (field("counter", "x"), "is not a number"),
        *((field("text", data), "single line") for data in ("a\nb", "a\rb", "a\n")),
        *((field(kind, 5), "must be a string") for kind in ("text", "note", "bulletPoints", "snippet")),
        (field("bulletPoints", ["a", "b"]), "must be a string"),
        ({"type": "heading", "label": "x", "data": "y"}, "no data and no name"),
        ({"type": "header", "label": "x", "name": "y"}, "no data and no name"),
        ({"type": "divider", "label": "x"}, "no label, no data"),
        ({"type": "divider", "data": ""}, "no label, no data"),
        *(
            (field("date", data), "is not a date")
            for data in ("", "2023-02-29", "29/02/2024", "20240229", "2024-02-29T10:00:00", "2024-02-29T10:00Z", 5)
        ),
        *((field("status", data), "is not null, grey") for data in ("gray", "Green", "", "blue", False, ["red"])),
        *((field("progress", data), "is not from 0 to 100") for data in (None, -1, 100.5, "101", "-0.1")),
        (field("progress", "half"), "is not a number"),
        (field("text", "x", options={"wrap": True}), "takes no options"),
    ],
    ids=str,
)
def test_a_field_that_is_refused(wrong: Any, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        check_dataset([{"type": "divider"}, wrong], RULES)
    assert refused.value.status == 400
    assert refused.value.message.startswith("data.dataset[1]: ")
    assert reason in refused.value.message


def test_two_fields_of_one_id_are_refused() -> None:
    check_dataset([{"type": "divider"}, {"type": "divider"}], RULES)
    with pytest.raises(Refused) as refused:
        check_dataset([{"type": "divider", "id": "x"}, {"type": "text", "id": "x"}], RULES)
    assert "there twice" in refused.value.message


@pytest.mark.parametrize(
    ("rules", "taken", "refused"),
    [
        (Rules("heading", "both", "both"), {"type": "heading"}, {"type": "header"}),
        (Rules("header", "both", "both"), {"type": "header"}, {"type": "heading"}),
        (Rules("both", "strings", "both"), field("number", "5"), field("number", 5)),
        (Rules("both", "numbers", "both"), field("progress", 5), field("progress", "5")),
        (Rules("both", "both", "date"), field("date", "2024-01-01"), field("date", "2024-01-01T00:00:00Z")),
        (Rules("both", "both", "datetime"), field("date", "2024-01-01T00:00:00Z"), field("date", "2024-01-01")),
    ],
    ids=str,
)
def test_settings_narrow_what_is_taken(rules: Rules, taken: dict[str, Any], refused: dict[str, Any]) -> None:
    check_dataset([taken], rules)
    with pytest.raises(Refused):
        check_dataset([refused], rules)


DATA = {"type": "fields", "dataset": [{"type": "divider"}]}


def test_a_post_is_public_unless_it_is_a_draft() -> None:
    content = read_content("application/json; charset=utf-8", json.encode({"data": DATA}), RULES)
    assert (content.draft, content.name) == (False, None)
    content = read_content("Application/JSON", json.encode({"data": DATA, "isDraft": True, "name": ""}), RULES)
    assert (content.draft, content.name) == (True, "")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b'{"name":"\\ud800","data":{}}', "not JSON"),
        ([], "must be an object"),
        ({}, "data must be an object"),
        ({"data": DATA, "isDraft": "true"}, "isDraft"),
        ({"data": DATA, "isDraft": None}, "isDraft"),
        ({"data": DATA, "name": None}, "name"),
        ({"data": DATA, "draft": True}, "unknown attributes: draft"),
        ({"data": json.encode(DATA).decode()}, "data must be an object"),
        ({"data": DATA | {"type": "table"}}, "data must be an object"),
        ({"data": DATA | {"more": 1}}, "data must be an object"),
        ({"data": {"type": "fields", "dataset": []}}, "list of fields"),
        ({"data": {"type": "fields", "dataset": {}}}, "list of fields"),
    ],
)
def test_a_body_that_is_refused(body: Any, reason: str) -> None:
    sent = body if isinstance(body, bytes) else json.encode(body)
    with pytest.raises(Refused) as refused:
        read_content("application/json", sent, RULES)
    assert refused.value.status == 400
    assert reason in refused.value.message


@pytest.mark.parametrize(
    "body", [{}, {"recallMessage": None}, {"recallMessage": "true"}, {"recallMessage": True, "x": 1}]
)
def test_recalling_or_not_must_be_said(body: Any) -> None:
    with pytest.raises(Refused):
        read_recall("application/json", json.encode(body))


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_only_json_is_taken(content_type: str) -> None:
    with pytest.raises(Refused) as refused:
        read_recall(content_type, b'{"recallMessage": true}')
    assert refused.value.status == 415
