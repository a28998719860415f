from __future__ import annotations

import io
import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from singer_http import output
from singer_http.http.clock import Stopped
from singer_http.http.errors import OutputClosedError
from singer_http.output import BUFFER, BufferedWriter
from singer_sdk.singerlib.encoding.simple import StateMessage
from typing_extensions import override


class Pieces(io.BytesIO):
    """Keeps every write apart."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    @override
    def write(self, data: Any) -> int:
        self.pieces.append(bytes(data))
        return len(data)


@pytest.fixture
def stdout(monkeypatch: pytest.MonkeyPatch) -> Pieces:
    pieces = Pieces()
    monkeypatch.setattr(output, "_stdout", lambda: pieces)
    return pieces


def record(number: int, text: str = "") -> dict[str, Any]:
    return {"type": "RECORD", "stream": "s", "record": {"id": number, "text": text}}


messages = st.lists(
    st.one_of(
        st.lists(st.builds(record, st.integers(), st.text(max_size=50)), max_size=4),
        st.builds(lambda size: [record(0, "x" * size)], st.integers(0, 2 * BUFFER)),
        st.just("state"),
        st.just("flush"),
    ),
    max_size=12,
)


@given(steps=messages)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_only_whole_lines_go_out_and_none_is_lost(stdout: Pieces, steps: list[Any]) -> None:
    stdout.pieces.clear()
    writer = BufferedWriter()
    expected: list[dict[str, Any]] = []
    for step in steps:
        if step == "state":
            writer.write_message(StateMessage({"a": 1}))
            expected.append({"type": "STATE", "value": {"a": 1}})
        elif step == "flush":
            writer.flush()
        else:
            writer.write_records(step)
            expected += step
        written = b"".join(stdout.pieces)
        assert len(expected) == 0 or writer.written >= len(written)
        waiting = writer.written - len(written)
        assert 0 <= waiting < BUFFER
        if step in ("state", "flush"):
            assert waiting == 0
    writer.flush()
    assert all(piece.endswith(b"\n") for piece in stdout.pieces if piece)
    assert [json.loads(line) for line in b"".join(stdout.pieces).splitlines()] == expected


def test_records_wait_for_company(stdout: Pieces) -> None:
    writer = BufferedWriter()
    writer.write_records([record(1)])
    assert stdout.pieces == []
    writer.write_message(StateMessage({}))
    assert len(stdout.pieces) == 1
    assert len(stdout.pieces[0].splitlines()) == 2


def test_a_reader_that_is_gone_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as pipe:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(output, "_stdout", lambda: pipe)
        writer = BufferedWriter()
        with pytest.raises(Stopped) as raised:
            writer.write_message(StateMessage({}))
        assert isinstance(raised.value.__cause__, OutputClosedError)
        writer.flush()  # nothing is left that could fail again
