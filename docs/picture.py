"""Draw posts.svg (`make picture`): the posts that target-harkster makes of two weeks of hours in the sandbox."""

from __future__ import annotations

import io
import json
from datetime import date, datetime, timedelta
from html import escape
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml
from api_sandbox import Scenario, serve_in_thread
from target_harkster.target import TargetHarkster

from docs.meltano_plugins import MELTANO_YML

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Field = Mapping[str, Any]

PICTURE = Path(__file__).with_name("posts.svg")
CHANNEL = "Acme Inc./Projects/Weekly Hours"
MONDAY = date(2026, 3, 2)
HOURS = {"Ann": (7.5, 8.0, 7.75, 8.25, 6.5, 8.0, 7.0, 7.5), "Bert": (8.0, 7.25, 0.0, 6.0, 7.5, 8.5, 8.0, 7.75)}
"""Of each day that is worked; the second week is under way."""
WIDTH, GAP, MARGIN, LINE = 400, 20, 22, 21
TILES = frozenset({"number", "counter", "percentage"})
STYLE = """
text { font: 14px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #1c2430 }
.card { fill: #fff; stroke: #d5dae1 } .tile { fill: #f1f3f6 }
.soft, .label { fill: #566172; font-size: 12px } .label { font-size: 11px } .name { font-weight: 600; font-size: 15px }
.heading { font-weight: 650; font-size: 18px } .figure { font-weight: 650; font-size: 20px } .dot { fill: #4354d6 }
@media (prefers-color-scheme: dark) {
  text { fill: #e7ebf0 } .card { fill: #1b212a; stroke: #2d3642 } .tile { fill: #232b36 }
  .soft, .label { fill: #9aa6b5 } .dot { fill: #8c9aff }
}
"""


def messages() -> Iterator[dict[str, Any]]:
    """Yield what tap-hubstaff would write of these hours."""
    text, number = {"type": "string"}, {"type": "integer"}
    properties = {"id": number, "name": text}
    yield _schema("organizations", properties)
    yield {"type": "RECORD", "stream": "organizations", "record": {"id": 1, "name": "Acme Inc."}}
    names = {"organization_id": number, "user_id": number, "user_name": text, "date": text}
    yield _schema("daily_activities", {"id": number, "tracked": number, "overall": number, **names})
    for user, (name, hours) in enumerate(HOURS.items(), 1):
        for day, worked in enumerate(hours):
            at = MONDAY + timedelta(days=day + 2 * (day // 5))  # no weekends
            row = {"id": 100 * user + day, "organization_id": 1, "user_id": user, "user_name": name}
            tracked = int(worked * 3600)
            row |= {"date": at.isoformat(), "tracked": tracked, "overall": tracked * (60 + 2 * day) // 100}
            yield {"type": "RECORD", "stream": "daily_activities", "record": row}


def _schema(stream: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties}
    return {"type": "SCHEMA", "stream": stream, "key_properties": ["id"], "schema": schema}


def posts() -> list[tuple[str, Sequence[Field]]]:
    """Return name and fields of the posts that the target makes, laid out as meltano.yml has it."""
    loaders = yaml.safe_load(MELTANO_YML.read_text(encoding="utf-8"))["plugins"]["loaders"]
    layout = next(loader["config"] for loader in loaders if loader["name"] == "target-harkster-hours")
    lines = "".join(f"{json.dumps(message)}\n" for message in messages())
    with serve_in_thread(Scenario()) as sandbox, TemporaryDirectory() as folder:
        harkster = sandbox.harkster
        settings = {
            "access_token": harkster.access_token,
            "api_url": harkster.api_url,
            "channel": CHANNEL,
            "ledger_url": f"sqlite:///{folder}/ledger.db",
            "reject_path": f"{folder}/rejects.jsonl",
        }
        TargetHarkster(config={**layout, **settings}).listen(io.BytesIO(lines.encode()))  # type: ignore[arg-type]
        return [(post.name or "", post.dataset) for post in harkster.posts(CHANNEL) if post.status == "published"]


def picture() -> str:
    """Draw the posts side by side."""
    cards = [list(_card(name, fields)) for name, fields in posts()]
    height = max(int(card[-1][0]) for card in cards)
    shown = []
    for number, card in enumerate(cards):
        left = number * (WIDTH + GAP) + 1
        frame = f'<rect class="card" x="0" y="0" width="{WIDTH}" height="{height}" rx="14"/>'
        shown.append(f'<g transform="translate({left} 1)">{frame}{"".join(part for _, part in card)}</g>')
    width = len(cards) * (WIDTH + GAP) - GAP + 2
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + 2}" width="{width}" role="img">'
    return "\n".join(
        (f"{head}<title>Two posts in a channel of Harkster</title><style>{STYLE}</style>", *shown, "</svg>\n")
    )


def _card(name: str, fields: Sequence[Field]) -> Iterator[tuple[float, str]]:
    """Yield the parts of a post, each with where the next one may begin."""
    y = MARGIN + 12
    yield y, _text(name, MARGIN, y, "name")
    for are_tiles, group in groupby(fields, lambda field: field["type"] in TILES):
        if are_tiles:
            y += 16
            yield from ((y + 58, tile) for tile in _tiles(list(group), y))
            y += 58
            continue
        for field in group:
            if field["type"] in {"heading", "header"}:
                y += 32
                yield y, _text(field["label"], MARGIN, y, "heading")
            elif "data" in field:
                y += 28
                yield y, _text(field["label"], MARGIN, y, "soft")
                for line in str(field["data"]).splitlines():
                    y += LINE
                    yield from _line(field["type"], line, y)
    yield y + MARGIN, ""


def _tiles(fields: Sequence[Field], y: float) -> Iterator[str]:
    labels = [str(field["label"]) for field in fields]
    share = (WIDTH - 2 * MARGIN - 8 * (len(fields) - 1)) / sum(len(label) + 2 for label in labels)
    x = float(MARGIN)
    for field, label in zip(fields, labels, strict=True):
        width = share * (len(label) + 2)
        unit = " %" if field["type"] == "percentage" else ""
        figure = _text(f"{field['data']}{unit}", x + 9, y + 45, "figure")
        tile = f'<rect class="tile" x="{x:.0f}" y="{y}" width="{width:.0f}" height="58" rx="8"/>'
        yield f"{tile}{_text(label, x + 9, y + 20, 'label')}{figure}"
        x += width + 8


def _line(kind: str, line: str, y: float) -> Iterator[tuple[float, str]]:
    if kind == "bulletPoints":
        yield y, f'<circle class="dot" cx="{MARGIN + 4}" cy="{y - 5}" r="3"/>{_text(line, MARGIN + 16, y)}'
    elif kind == "date":
        day = datetime.strptime(line, "%Y-%m-%d")  # noqa: DTZ007 - a day has no time zone
        yield y, _text(f"{day.day} {day:%B %Y}", MARGIN, y)
    else:
        yield y, _text(line, MARGIN, y)


def _text(text: str, x: float, y: float, kind: str = "plain") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}">{escape(text)}</text>'


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(picture(), encoding="utf-8")


if __name__ == "__main__":
    main()
