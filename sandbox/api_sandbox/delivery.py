"""Answers, and the ways in which they get to the client: whole, dribbling, cut off, or not at all."""

import asyncio
import math
import re
import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Literal

import msgspec
from starlette.types import Receive, Scope, Send

from api_sandbox.faults import Fault, FaultKind
from api_sandbox.limits import retry_after

JSON = "application/json"
HTML = "text/html; charset=utf-8"
TRANSPORT = "api_sandbox.transport"
"""Key under `scope["extensions"]` of the connection's asyncio transport."""

NOTHING = -1
"""A place to cut an answer: before its status line."""

_NAMES = re.compile(rb'("\w*[nN]ame": ?")')
"""What comes before the text of a name."""
_SHAPES = {"object": b"{}", "list": b"[]", "null": b"null", "text": b'"ok"'}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer and how to send it.

    Attributes:
        status: HTTP status.
        body: The whole body.
        media_type: Content-Type.
        headers: Further headers.
        ending: `complete`; or what happens to the connection after `cut_at`.
        cut_at: How many bytes of the body are sent; None for all; NOTHING for not even a status line.
        delay: Seconds before the answer begins.
        is_held: Whether it does not begin before the faults are replaced.
        chunk_bytes: Size of the pieces in which the body is sent; None for one piece.
        pause: Seconds between two pieces.
        sound: Whether the body is what the API meant to say, so that what is in it counts as served.
    """

    status: int
    body: bytes
    media_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    ending: Literal["complete", "close", "reset"] = "complete"
    cut_at: int | None = None
    delay: float = 0.0
    is_held: bool = False
    chunk_bytes: int | None = None
    pause: float = 0.0
    sound: bool = True

    @property
    def outcome(self) -> str:
        """What the report calls it: the status, or how the connection ended."""
        return str(int(self.status)) if self.ending == "complete" else self.ending


def html_page(status: int) -> bytes:
    """An error page such as a proxy in front of an API shows."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Error"
    title = f"{status} {phrase}"
    return f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n".encode()


def spoil(answer: Answer, fault: Fault, error_body: bytes) -> Answer:
    """The answer with a fault of its delivery, or another in its place.

    Args:
        answer: The sound answer.
        fault: Any fault; those of pages leave the answer as it is.
        error_body: The vendor's error of the fault's status.
    """
    if fault.kind == "status":
        return _status(answer, fault, error_body)
    spoiler = _SPOILERS.get(fault.kind)
    return answer if spoiler is None else spoiler(answer, fault)


def _status(answer: Answer, fault: Fault, error_body: bytes) -> Answer:
    body, media_type = (html_page(fault.status), HTML) if fault.html else (error_body, JSON)
    headers = {}
    if fault.retry_after is not None:
        headers["retry-after"] = retry_after(fault.retry_after, fault.retry_after_form)
    return replace(answer, status=fault.status, body=body, media_type=media_type, headers=headers, sound=False)


def _slow(answer: Answer, fault: Fault) -> Answer:
    delay = answer.delay + fault.delay
    return replace(answer, delay=delay, chunk_bytes=fault.chunk_bytes, pause=fault.pause)


def _held(answer: Answer, _fault: Fault) -> Answer:
    return replace(answer, is_held=True)


def _empty(answer: Answer, _fault: Fault) -> Answer:
    return replace(answer, status=200, body=b"", sound=False)


def _not_json(answer: Answer, _fault: Fault) -> Answer:
    return replace(answer, status=200, body=html_page(200), media_type=HTML, sound=False)


def _wrong_shape(answer: Answer, fault: Fault) -> Answer:
    return replace(answer, status=200, body=_SHAPES[fault.shape], sound=False)


def _odd_text(answer: Answer, _fault: Fault) -> Answer:
    return replace(answer, body=_NAMES.sub(rb"\1\\u0000\\ud83d", answer.body))


def _truncated(answer: Answer, fault: Fault) -> Answer:
    cut = int(len(answer.body) * fault.keep)
    if fault.honest_length:
        return replace(answer, body=answer.body[:cut], sound=False)
    return replace(answer, ending="close", cut_at=cut, sound=False)


def _reset(answer: Answer, fault: Fault) -> Answer:
    cut = int(len(answer.body) * fault.keep) if fault.when == "mid_body" else NOTHING
    return replace(answer, ending="reset", cut_at=cut, sound=False)


_SPOILERS: Mapping[FaultKind, Callable[[Answer, Fault], Answer]] = {
    "slow": _slow,
    "hold": _held,
    "empty_body": _empty,
    "not_json": _not_json,
    "wrong_shape": _wrong_shape,
    "odd_text": _odd_text,
    "truncated": _truncated,
    "reset": _reset,
}


async def deliver(
    answer: Answer, scope: Scope, receive: Receive, send: Send, clock: Callable[[], float] = time.time
) -> None:
    """Send an answer in its way, dated by the API's own clock."""
    if answer.delay:
        await asyncio.sleep(answer.delay)
    if answer.cut_at == NOTHING:
        await _hang_up(scope, receive, reset=True)
        return
    headers = [(b"date", formatdate(math.floor(clock()), usegmt=True).encode())]
    headers += [(b"content-type", answer.media_type.encode()), (b"content-length", b"%d" % len(answer.body))]
    headers += [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    body = answer.body if answer.cut_at is None else answer.body[: answer.cut_at]
    step = answer.chunk_bytes or max(len(body), 1)
    begin = 0
    while begin + step < len(body):
        await send({"type": "http.response.body", "body": body[begin : begin + step], "more_body": True})
        begin += step
        await asyncio.sleep(answer.pause)
    cut_off = answer.ending != "complete"
    await send({"type": "http.response.body", "body": body[begin:], "more_body": cut_off})
    if cut_off:
        await _hang_up(scope, receive, reset=answer.ending == "reset")


async def _hang_up(scope: Scope, receive: Receive, *, reset: bool) -> None:
    """Close the connection: with a TCP reset, or in order after what was written."""
    transport: asyncio.Transport = scope["extensions"][TRANSPORT]
    if reset:
        connection: socket.socket = transport.get_extra_info("socket")
        # A linger time of 0 makes the kernel send RST instead of FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()
    # Not before the server knows of it: it would complain of an answer that was never finished.
    while (await receive())["type"] != "http.disconnect":
        pass


def error_answer(status: int, body: bytes, headers: dict[str, str] | None = None) -> Answer:
    """An error that the API means."""
    return Answer(status, body, headers=headers or {}, sound=False)


def json_answer(content: object) -> Answer:
    """A success with a JSON body."""
    return Answer(HTTPStatus.OK, msgspec.json.encode(content))
