"""Faults on demand: what to break, in which requests, and how often."""

import asyncio
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

import msgspec

from api_sandbox.limits import RetryAfterForm

AnswerKind = Literal[
    "status", "empty_body", "not_json", "truncated", "reset", "wrong_shape", "expire_token", "odd_text"
]
"""Faults that stand in the place of the answer; one of them at most acts on a request."""
DelayKind = Literal["slow", "hold"]
"""Faults of time, which go with any other."""
PageKind = Literal[
    "repeat_cursor", "more_without_cursor", "cursor_without_more", "empty_page", "unknown_fields", "null_item"
]
"""Faults inside a well-formed page; several may act together."""
FaultKind = AnswerKind | DelayKind | PageKind

ANSWER_KINDS: frozenset[FaultKind] = frozenset(get_args(AnswerKind))
DELAY_KINDS: frozenset[FaultKind] = frozenset(get_args(DelayKind))
PAGE_KINDS: frozenset[FaultKind] = frozenset(get_args(PageKind))

Operation = Literal["read", "write", "create", "update", "publish", "delete"]
"""What a request does; `write` is any that is not `read`."""

HELD_PATIENCE = 300.0
"""Seconds after which a request that was to be held has not come."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault: a kind, the requests that it matches, and the details of the kind.

    A request matches when every condition given matches. `path` is `*` or the end of a path (`/leads`,
    `/hustle/v3/leads`, `/oauth/token`). `organization` is an id, or an index into the organizations.
    `page` counts from 1 in the chain of pages of a query. `operation` is what the request does. `nth` lists
    ordinals, from 1, among the matching requests. Of those, a share of `rate` is hit, `times` at most.
    """

    kind: FaultKind
    path: str = "*"
    organization: str | int | None = None
    page: int | None = None
    cursor: str | None = None
    operation: Operation | None = None
    nth: tuple[int, ...] = ()
    times: int | None = None
    rate: float = 1.0

    # The details of the kinds: the README says which has which.
    status: int = 500
    html: bool = False
    retry_after: float | None = None
    retry_after_form: RetryAfterForm = "seconds"
    keep: float = 0.5
    honest_length: bool = True
    when: Literal["before", "after", "mid_body"] = "before"
    committed: bool = True
    delay: float = 0.0
    chunk_bytes: int | None = None
    pause: float = 0.0
    back: int = 0
    shape: Literal["object", "list", "null", "text"] = "object"

    def __post_init__(self) -> None:
        """Refuse values that could never act, so that no test passes because its fault slept."""
        problems = {
            "path must be '*' or begin with '/'": self.path != "*" and not self.path.startswith("/"),
            "rate is a share between 0 and 1": not 0.0 <= self.rate <= 1.0,
            "keep is a share from 0 to below 1": not 0.0 <= self.keep < 1.0,
            "status must be from 200 to 599": not 200 <= self.status <= 599,  # noqa: PLR2004 - as it says
            "a slow fault needs delay or chunk_bytes": self.kind == "slow" and not (self.delay or self.chunk_bytes),
            "committed must be of a reset, truncated or empty_body: no other comes after an exchange": (
                not self.committed and self.kind not in {"reset", "truncated", "empty_body"}
            ),
            "chunk_bytes must be positive": self.chunk_bytes is not None and self.chunk_bytes < 1,
            "nth and page count from 1": min((*self.nth, 1 if self.page is None else self.page)) < 1,
            "delay, pause, back and times cannot be negative": min(self.delay, self.pause, self.back, self.times or 0)
            < 0,
        }
        for problem, is_there in problems.items():
            if is_there:
                raise ValueError(problem)


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is, as far as faults are concerned.

    Attributes:
        organization: Id and index of the organization asked for, if one was.
        page: Place in the chain of pages, from 1; None where the request is no page.
        steps_aside: The request comes from a cursor that an `empty_page` gave, so no other empty page may
            stand in its place, lest the data never come.
        with_token: The request needs an access token, which can expire.
    """

    path: str
    organization: tuple[str, int] | None = None
    page: int | None = None
    cursor: str | None = None
    steps_aside: bool = False
    with_token: bool = True
    operation: Operation = "read"


@dataclass(slots=True)
class _Armed:
    """A fault with its counters."""

    fault: Fault
    chance: random.Random
    matched: int = 0
    fired: int = 0

    def fires(self, target: Target) -> bool:
        fault = self.fault
        if not _matches(fault, target) or (fault.times is not None and self.fired >= fault.times):
            return False
        self.matched += 1
        if fault.nth and self.matched not in fault.nth:
            return False
        if fault.rate < 1.0 and self.chance.random() >= fault.rate:
            return False
        self.fired += 1
        return True


def _matches(fault: Fault, target: Target) -> bool:
    """Whether every condition of a fault holds, its counters apart."""
    return (
        (fault.path == "*" or target.path.endswith(fault.path))
        and (fault.organization is None or fault.organization in (target.organization or ()))
        and fault.page in {None, target.page}
        and fault.cursor in {None, target.cursor}
        and (fault.operation in {None, target.operation} or (fault.operation == "write" and target.operation != "read"))
        and _has_room(fault, target)
    )


def _has_room(fault: Fault, target: Target) -> bool:
    """Whether the request offers what the kind of fault needs."""
    if fault.kind not in PAGE_KINDS:
        return target.with_token or fault.kind != "expire_token"
    if target.page is None:
        return False
    if fault.kind == "empty_page":
        return not target.steps_aside
    # The first page was asked for without a cursor: there is none to give back.
    return fault.kind != "repeat_cursor" or target.page > fault.back + 1


class Gate:
    """Where requests are held until it opens. They belong in the thread that serves; waiting for them does not."""

    def __init__(self) -> None:
        self._opening = asyncio.Event()
        self._held = 0
        self._changed = threading.Condition()

    async def hold(self) -> None:
        """Hold a request until the gate opens."""
        self._count(1)
        try:
            await self._opening.wait()
        finally:
            self._count(-1)

    def open(self) -> None:
        """Let go what is held now."""
        self._opening.set()
        self._opening = asyncio.Event()

    def wait_until_held(self, count: int) -> None:
        """Wait, in any other thread, until so many requests are held at least.

        Raises:
            TimeoutError: They do not come.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._held >= count, HELD_PATIENCE):
                raise TimeoutError(f"{self._held} requests are held, and not {count}")

    def _count(self, more: int) -> None:
        with self._changed:
            self._held += more
            self._changed.notify_all()


@dataclass(slots=True)
class FaultBook:
    """All faults of a running sandbox and their counters."""

    seed: int
    gate: Gate = field(default_factory=Gate)
    _armed: list[_Armed] = field(default_factory=list)

    def add(self, *faults: Fault) -> None:
        """Put faults after those that are there."""
        for fault in faults:
            # Not for secrets: the same faults must hit the same requests in every run.
            chance = random.Random(f"{self.seed}/{len(self._armed)}")  # noqa: S311
            self._armed.append(_Armed(fault, chance))

    def replace(self, *faults: Fault) -> None:
        """Put faults in the place of those that are there, with fresh counters, and let go what those held."""
        self.gate.open()
        self._armed.clear()
        self.add(*faults)

    def draw(self, target: Target) -> list[Fault]:
        """The faults that act on a request: at most one on the answer, or any number on the page, and delays."""
        if not self._armed:
            return []
        drawn = [*self._drawn(DELAY_KINDS, target)]
        answer = next(self._drawn(ANSWER_KINDS, target), None)
        return [*drawn, answer] if answer else [*drawn, *self._drawn(PAGE_KINDS, target)]

    def _drawn(self, kinds: frozenset[FaultKind], target: Target) -> Iterator[Fault]:
        return (armed.fault for armed in self._armed if armed.fault.kind in kinds and armed.fires(target))
