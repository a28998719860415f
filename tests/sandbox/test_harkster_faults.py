import time
from collections.abc import Callable, Sequence
from itertools import product
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import requests
from api_sandbox import Fault, HarksterScenario, RunningSandbox, Scenario

Call = Callable[..., requests.Response]
Serve = Callable[[Scenario], RunningSandbox]

BODY = {"data": {"type": "fields", "dataset": [{"type": "divider", "id": "1"}]}, "isDraft": True}
WRITES = {
    "create": ("POST", "", BODY),
    "update": ("PUT", "/{id}", BODY),
    "publish": ("PUT", "/{id}/publish", None),
    "delete": ("DELETE", "/{id}", {"recallMessage": True}),
}


def quick(*faults: Fault) -> Scenario:
    return Scenario(harkster=HarksterScenario(requests_per_second=None), faults=faults)


def write(call: Call, sandbox: RunningSandbox, operation: str, own_id: str = "", **options: Any) -> requests.Response:
    method, path, body = WRITES[operation]
    posts = f"channels/{sandbox.harkster.channel('Weekly Hours')}/posts"
    return call(sandbox, method, posts + path.format(id=own_id), json=body, **options)


def done(sandbox: RunningSandbox) -> Sequence[str]:
    """What was done, the making of the first draft apart."""
    return [event.kind for event in sandbox.harkster.truth().events][1:]


DONE = {"create": ["created"], "update": ["updated"], "publish": ["published"], "delete": ["deleted", "recalled"]}


@pytest.mark.parametrize(("operation", "when", "kind"), [*product(WRITES, ["before", "after"], ["status", "reset"])])
def test_an_answer_is_lost_before_or_after_the_commit(
    serve: Serve, call: Call, operation: Any, when: Any, kind: Any
) -> None:
    sandbox = serve(quick())
    draft = write(call, sandbox, "create").json()["id"]
    sandbox.faults.add(Fault(kind=kind, operation=operation, when=when, status=502, times=1))
    if kind == "reset":
        with pytest.raises(requests.ConnectionError):
            write(call, sandbox, operation, draft)
    else:
        assert write(call, sandbox, operation, draft).status_code == 502
    assert done(sandbox) == (DONE[operation] if when == "after" else [])
    assert call(sandbox, "GET", "channels").status_code == 200


@pytest.mark.parametrize(
    ("kind", "details", "committed"),
    [
        ("empty_body", {}, False),
        ("empty_body", {"when": "after"}, True),
        ("not_json", {}, False),
        ("not_json", {"when": "after"}, True),
        ("wrong_shape", {}, False),
        ("wrong_shape", {"when": "after"}, True),
        ("truncated", {}, True),
        ("truncated", {"honest_length": False}, True),
        ("reset", {"when": "mid_body"}, True),
    ],
)
def test_broken_answers_to_a_write(serve: Serve, call: Call, kind: Any, details: Any, *, committed: bool) -> None:
    sandbox = serve(quick(Fault(kind=kind, operation="write", **details)))
    try:
        answer = write(call, sandbox, "create")
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        assert kind in {"reset", "truncated"}
    else:
        assert answer.status_code == 200
        with pytest.raises((requests.JSONDecodeError, KeyError)):
            _ = answer.json()["id"]
    assert len(sandbox.harkster.posts()) == committed


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_held_write_is_done_though_nobody_waits(serve: Serve, call: Call, when: Any) -> None:
    sandbox = serve(quick(Fault(kind="hold", operation="create", when=when)))
    with pytest.raises(requests.ReadTimeout):
        write(call, sandbox, "create", timeout=0.1)
    sandbox.faults.wait_until_held()
    assert len(sandbox.harkster.posts()) == (when == "after")
    sandbox.faults.clear()
    assert write(call, sandbox, "create").status_code == 200  # and what was let go before it is done
    assert len(sandbox.harkster.posts()) == 2


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_slow_answer_is_slow_once(
    serve: Serve, call: Call, monkeypatch: pytest.MonkeyPatch, when: Literal["before", "after"]
) -> None:
    sandbox = serve(quick(Fault(kind="slow", delay=0.5, when=when)))
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("api_sandbox.api.asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr("api_sandbox.delivery.asyncio", SimpleNamespace(sleep=sleep))
    assert write(call, sandbox, "create").status_code == 200
    assert slept.count(0.5) == 1


def test_a_fault_of_writes_spares_reads(serve: Serve, call: Call) -> None:
    sandbox = serve(quick(Fault(kind="status", operation="write")))
    assert call(sandbox, "GET", "channels").status_code == 200
    assert write(call, sandbox, "create").status_code == 500
    sandbox.faults.replace(Fault(kind="status", operation="read"))
    assert call(sandbox, "GET", "channels").status_code == 500
    assert write(call, sandbox, "create").status_code == 200


def test_a_fault_hides_a_refusal_too(serve: Serve, call: Call) -> None:
    sandbox = serve(quick(Fault(kind="status", operation="publish", when="after")))
    sandbox.harkster.set_quota("Acme Inc.", used=100)
    own_id = write(call, sandbox, "create").json()["id"]
    assert write(call, sandbox, "publish", own_id).status_code == 500
    assert sandbox.harkster.truth().quota_refusals == 1


def test_a_429_of_a_fault_is_one_for_too_many_requests(serve: Serve, call: Call) -> None:
    sandbox = serve(quick(Fault(kind="status", status=429, retry_after=1)))
    answer = write(call, sandbox, "create")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    assert "X-Harkster-Quota-Reached" not in answer.headers


def test_a_revoked_token_works_again_after_a_reset(serve: Serve, call: Call) -> None:
    sandbox = serve(quick(Fault(kind="expire_token", nth=(2,))))
    statuses = [call(sandbox, "GET", "auth").status_code for _ in range(3)]
    assert statuses == [200, 401, 401]
    sandbox.reset()
    assert call(sandbox, "GET", "auth").status_code == 200
    sandbox.harkster.revoke_token()
    assert call(sandbox, "GET", "auth").status_code == 401


def test_the_report_counts_by_operation(serve: Serve, call: Call) -> None:
    sandbox = serve(quick(Fault(kind="reset", operation="publish", when="after", times=1)))
    own_id = write(call, sandbox, "create").json()["id"]
    with pytest.raises(requests.ConnectionError):
        write(call, sandbox, "publish", own_id)
    call(sandbox, "GET", "nothing")
    posts = "/harkster/public/v1/channels/{id}/posts"
    assert sandbox.report().outcomes == {
        f"POST {posts}": {"200": 1},
        f"PUT {posts}/{{id}}/publish": {"reset": 1},
        "GET /harkster/public/v1/nothing": {"404": 1},
    }
    assert sandbox.report().requests == 3
    sandbox.reset()
    assert sandbox.report().requests == 0
    assert sandbox.harkster.posts()[0].publications == 1


def test_latency(serve: Serve, call: Call) -> None:
    sandbox = serve(Scenario(harkster=HarksterScenario(latency=0.1)))
    began = time.monotonic()
    call(sandbox, "GET", "auth")
    assert time.monotonic() - began >= 0.1
