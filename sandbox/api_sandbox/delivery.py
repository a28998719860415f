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
from typing import Any, Literal

import msgspec
from starlette.types import Receive, Scope, Send

from api_sandbox.faults import Fault, FaultKind
from api_sandbox.limits import retry_headers
from api_sandbox.report import Served

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
        ending: `complete`; or what happens to the connection after `cut_at`.
        cut_at: How many bytes of the body are sent; None for all; NOTHING for not even a status line.
        delay: Seconds before the answer begins.
        is_held: Whether it does not begin before the faults are replaced.
        chunk_bytes: Size of the pieces in which the body is sent; None for one piece.
        pause: Seconds between two pieces.
        sound: Whether the body is what the API meant to say, so that what is in it counts as served.
        served: The page that is in it, if one is.
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
    served: Served | None = None

    @property
    def outcome(self) -> str:
        """What the report calls it: the status, or how the connection ended."""
        return str(int(self.status)) if self.ending == "complete" else self.ending


def json_answer(content: object, status: int = HTTPStatus.OK) -> Answer:
    """A success with a JSON body."""
    return Answer(status, msgspec.json.encode(content))


def phrase(status: int) -> str:
    """What HTTP calls a status."""
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error"


def html_page(status: int) -> bytes:
    """An error page such as a proxy in front of an API shows."""
    title = f"{status} {phrase(status)}"
    return f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n".encode()


def spoil(answer: Answer, fault: Fault, error: tuple[bytes, str]) -> Answer:
    """The answer with a fault of its delivery, or the vendor's error of the fault's status in its place."""
    if fault.kind == "status":
        body, media_type = (html_page(fault.status), HTML) if fault.html else error
        headers = retry_headers(fault.retry_after, fault.retry_after_form)
        return replace(answer, status=fault.status, body=body, media_type=media_type, headers=headers, sound=False)
    change = _CHANGES.get(fault.kind)
    return answer if change is None else replace(answer, **change(answer, fault))


def _truncated(answer: Answer, fault: Fault) -> dict[str, Any]:
    cut = int(len(answer.body) * fault.keep)
    if fault.honest_length:
        return {"body": answer.body[:cut], "sound": False}
    return {"ending": "close", "cut_at": cut, "sound": False}


def _reset(answer: Answer, fault: Fault) -> dict[str, Any]:
    cut = int(len(answer.body) * fault.keep) if fault.when == "mid_body" else NOTHING
    return {"ending": "reset", "cut_at": cut, "sound": False}


def _slow(answer: Answer, fault: Fault) -> dict[str, Any]:
    return {"delay": answer.delay + fault.delay, "chunk_bytes": fault.chunk_bytes, "pause": fault.pause}


_CHANGES: Mapping[FaultKind, Callable[[Answer, Fault], dict[str, Any]]] = {
    "slow": _slow,
    "hold": lambda _answer, _fault: {"is_held": True},
    "empty_body": lambda _answer, _fault: {"status": 200, "body": b"", "sound": False},
    "not_json": lambda _answer, _fault: {"status": 200, "body": html_page(200), "media_type": HTML, "sound": False},
    "wrong_shape": lambda _answer, fault: {"status": 200, "body": _SHAPES[fault.shape], "sound": False},
    "odd_text": lambda answer, _fault: {"body": _NAMES.sub(rb"\1\\u0000\\ud83d", answer.body)},
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
