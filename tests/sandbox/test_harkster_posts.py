from collections.abc import Callable
from typing import Any

import pytest
import requests
from api_sandbox import AccountPlan, ChannelPlan, HarksterScenario, RunningSandbox, Scenario, WorkspacePlan

Call = Callable[..., requests.Response]
Serve = Callable[[Scenario], RunningSandbox]
Write = Callable[..., requests.Response]


def account(quota: int = 100, used: int = 0) -> AccountPlan:
    rooms = WorkspacePlan(name="W", channels=(ChannelPlan(name="C"), ChannelPlan(name="D")))
    return AccountPlan(name="A", quota=quota, used=used, workspaces=(rooms,))


def scenario(plan: AccountPlan | None = None, **settings: Any) -> Scenario:
    return Scenario(
        harkster=HarksterScenario(**{"accounts": (plan or account(),), "requests_per_second": None, **settings})
    )


def body(text: str = "x", **more: Any) -> dict[str, Any]:
    return {"data": {"type": "fields", "dataset": [{"type": "text", "id": "t", "data": text}]}, **more}


@pytest.fixture
def write(call: Call) -> Write:
    """Create, change, publish or delete a post in the channel C."""

    def written(sandbox: RunningSandbox, method: str, path: str = "", **json: Any) -> requests.Response:
        posts = f"channels/{sandbox.harkster.channel('C')}/posts"
        return call(sandbox, method, f"{posts}/{path}" if path else posts, json=json or None)

    return written


def kinds(sandbox: RunningSandbox) -> list[str]:
    return [event.kind for event in sandbox.harkster.truth().events]


def test_a_draft_is_seen_by_nobody_until_it_is_published(serve: Serve, write: Write) -> None:
    sandbox = serve(scenario())
    made = write(sandbox, "POST", **body(isDraft=True, name="Post"))
    assert made.status_code == 200
    post = made.json()
    assert post["isDraft"]
    assert [post["publishedByAt"], post["publishedById"], post["publishedByName"]] == [None] * 3
    (truth,) = sandbox.harkster.posts()
    assert (truth.id, truth.status, truth.publications) == (post["id"], "draft", 0)
    assert made.headers["X-Harkster-Usage"] == "0"

    published = write(sandbox, "PUT", f"{post['id']}/publish")
    assert (published.status_code, published.content) == (204, b"")
    assert (published.headers["X-Harkster-Quota"], published.headers["X-Harkster-Usage"]) == ("100", "1")
    (truth,) = sandbox.harkster.posts("A/W/C")
    assert (truth.status, truth.publications) == ("published", 1)
    shown = write(sandbox, "GET", post["id"]).json()
    assert shown == write(sandbox, "GET").json()[0]
    assert (shown["isDraft"], shown["publishedByName"]) == (False, "Bert Smith")
    assert shown["publishedByAt"].endswith("+00:00")
    assert kinds(sandbox) == ["created", "published"]


def test_a_post_that_is_no_draft_goes_out_at_once(serve: Serve, write: Write) -> None:
    sandbox = serve(scenario(create_status=201))
    assert write(sandbox, "POST", **body()).status_code == 201
    (truth,) = sandbox.harkster.posts()
    assert (truth.status, truth.publications, truth.name) == ("published", 1, None)


def test_publishing_twice_is_a_second_post_to_the_followers(serve: Serve, write: Write) -> None:
    sandbox = serve(scenario())
    own_id = write(sandbox, "POST", **body()).json()["id"]
    assert write(sandbox, "PUT", f"{own_id}/publish").status_code == 204
    (truth,) = sandbox.harkster.posts()
    assert truth.publications == 2
    assert list(sandbox.harkster.truth().used.values()) == [2]
    assert [event.kind for event in sandbox.harkster.truth().events] == ["created", "published", "published"]


def test_publishing_twice_can_be_refused(serve: Serve, write: Write) -> None:
    sandbox = serve(scenario(republish="refuse"))
    own_id = write(sandbox, "POST", **body()).json()["id"]
    assert write(sandbox, "PUT", f"{own_id}/publish").status_code == 409
    assert sandbox.harkster.posts()[0].publications == 1


@pytest.mark.parametrize(("setting", "times"), [("silent", 1), ("notify", 2)])
def test_changing_a_published_post(serve: Serve, write: Write, setting: Any, times: int) -> None:
    sandbox = serve(scenario(update_published=setting))
    own_id = write(sandbox, "POST", **body("old", name="Name")).json()["id"]
    changed = write(sandbox, "PUT", own_id, **body("new"))
    assert changed.status_code == 200
    assert changed.json()["data"]["dataset"][0]["data"] == "new"
    (truth,) = sandbox.harkster.posts()
    assert (truth.publications, truth.updates, truth.name) == (times, 1, None)


def test_a_draft_that_is_changed_is_public_unless_it_is_said_to_be_a_draft(serve: Serve, write: Write) -> None:
    sandbox = serve(scenario())
    own_id = write(sandbox, "POST", **body(isDraft=True)).json()["id"]
    write(sandbox, "PUT", own_id, **body(isDraft=True))
    assert sandbox.harkster.posts()[0].status == "draft"
    write(sandbox, "PUT", own_id, **body())
    assert sandbox.harkster.posts()[0].publications == 1
    write(sandbox, "PUT", own_id, **body(isDraft=True))
    assert sandbox.harkster.posts()[0].status == "draft"
    assert kinds(sandbox) == ["created", "updated", "updated", "published", "updated", "unpublished"]


@pytest.mark.parametrize("recall", [True, False])
def test_deleting(serve: Serve, write: Write, *, recall: bool) -> None:
    sandbox = serve(scenario())
    own_id = write(sandbox, "POST", **body()).json()["id"]
    assert write(sandbox, "DELETE", own_id).status_code == 415
    answer = write(sandbox, "DELETE", own_id, recallMessage=recall)
    assert (answer.status_code, answer.content, answer.headers["X-Harkster-Usage"]) == (204, b"", "1")
    (truth,) = sandbox.harkster.posts()
    assert (truth.status, truth.recalled, truth.publications) == ("deleted", recall, 1)
    assert write(sandbox, "GET").json() == []
    for method, path in (("GET", own_id), ("PUT", f"{own_id}/publish")):
        assert write(sandbox, method, path).status_code == 404
    assert write(sandbox, "DELETE", own_id, recallMessage=recall).status_code == 404


def test_a_post_belongs_to_its_channel(serve: Serve, write: Write, call: Call) -> None:
    sandbox = serve(scenario())
    own_id = write(sandbox, "POST", **body()).json()["id"]
    other = f"channels/{sandbox.harkster.channel('D')}/posts/{own_id}"
    assert call(sandbox, "GET", other).status_code == 404
    assert call(sandbox, "DELETE", other, json={"recallMessage": True}).status_code == 404
    assert sandbox.harkster.posts()[0].status == "published"


def test_fields_without_an_id_are_given_one(serve: Serve, write: Write) -> None:
    sandbox = serve(scenario())
    fields = [{"type": "divider"}, {"type": "divider", "id": None}, {"type": "divider", "id": "own"}]
    made = write(sandbox, "POST", data={"type": "fields", "dataset": fields}).json()["data"]["dataset"]
    assert len({field["id"] for field in made}) == 3
    assert made[2] == fields[2]


def test_a_refused_post_leaves_nothing_behind(serve: Serve, write: Write) -> None:
    sandbox = serve(scenario())
    own_id = write(sandbox, "POST", **body("good")).json()["id"]
    for method, path in (("POST", ""), ("PUT", own_id)):
        assert write(sandbox, method, path, **body("two\nlines")).status_code == 400
    (truth,) = sandbox.harkster.posts()
    assert (truth.updates, truth.dataset[0]["data"]) == (0, "good")


def test_the_quota_stops_what_is_public_and_lets_drafts_pass(serve: Serve, write: Write) -> None:
    sandbox = serve(scenario(account(quota=2, used=1)))
    draft = write(sandbox, "POST", **body(isDraft=True)).json()["id"]
    assert write(sandbox, "POST", **body()).status_code == 200
    requests_refused = [
        write(sandbox, "POST", **body()),
        write(sandbox, "PUT", draft, **body()),
        write(sandbox, "PUT", f"{draft}/publish"),
    ]
    for answer in requests_refused:
        assert answer.status_code == 429
        assert answer.headers["X-Harkster-Quota-Reached"] == "true"
        assert (answer.headers["X-Harkster-Quota"], answer.headers["X-Harkster-Usage"]) == ("2", "2")
    assert write(sandbox, "POST", **body(isDraft=True)).status_code == 200
    truth = sandbox.harkster.truth()
    assert truth.quota_refusals == 3
    assert [post.status for post in sandbox.harkster.posts()] == ["draft", "published", "draft"]
    assert [post.updates for post in sandbox.harkster.posts()] == [0, 0, 0]

    sandbox.harkster.next_month()
    answer = write(sandbox, "PUT", f"{draft}/publish")
    assert (answer.status_code, answer.headers["X-Harkster-Usage"]) == (204, "1")
    first, second, _ = sandbox.harkster.posts()
    assert first.published_at is not None
    assert second.published_at is not None
    assert first.published_at.month == second.published_at.month % 12 + 1


def test_the_quota_can_be_set(serve: Serve, write: Write, call: Call) -> None:
    sandbox = serve(scenario())
    sandbox.harkster.set_quota("A", quota=5, used=5)
    assert write(sandbox, "POST", **body()).status_code == 429
    sandbox.harkster.set_quota("A", used=4)
    assert write(sandbox, "POST", **body()).status_code == 200
    usages = f"accounts/{sandbox.harkster.account('A')}/usages"
    assert call(sandbox, "GET", usages).json() == {"postQuota": 5, "postUsage": 5}


@pytest.mark.usefixtures("stopped_time")
def test_too_many_requests_are_another_429(serve: Serve, write: Write, call: Call) -> None:
    sandbox = serve(scenario(requests_per_second=1, retry_after=2))
    call(sandbox, "GET", "auth")
    answer = write(sandbox, "POST", **body())
    assert answer.status_code == 429
    assert "X-Harkster-Quota-Reached" not in answer.headers
    assert answer.headers["Retry-After"] == "2"
    assert sandbox.harkster.posts() == []
    assert (sandbox.report().too_many_requests, sandbox.harkster.truth().quota_refusals) == (1, 0)


@pytest.mark.usefixtures("stopped_time")
def test_too_many_requests_can_say_that_it_is_not_the_quota(serve: Serve, call: Call) -> None:
    sandbox = serve(scenario(requests_per_second=1, quota_reached_false=True))
    answers = [call(sandbox, "GET", "auth") for _ in range(2)]
    assert answers[1].headers["X-Harkster-Quota-Reached"] == "false"


@pytest.mark.parametrize(
    ("setting", "reading", "writing"), [("always", True, True), ("writes", False, True), ("never", False, False)]
)
def test_where_the_quota_is_told(
    serve: Serve, write: Write, call: Call, setting: Any, *, reading: bool, writing: bool
) -> None:
    sandbox = serve(scenario(quota_headers=setting))
    assert ("X-Harkster-Quota" in write(sandbox, "GET").headers) is reading
    assert ("X-Harkster-Quota" in write(sandbox, "POST", **body()).headers) is writing
    assert "X-Harkster-Quota" not in call(sandbox, "GET", "channels").headers


@pytest.mark.parametrize(("setting", "keys"), [("id", {"id"}), ("nothing", None)])
def test_what_writes_answer(serve: Serve, write: Write, setting: Any, keys: Any) -> None:
    sandbox = serve(scenario(write_answers=setting))
    made = write(sandbox, "POST", **body())
    changed = write(sandbox, "PUT", sandbox.harkster.posts()[0].id, **body())
    for answer in (made, changed):
        assert answer.status_code == 200
        assert (set(answer.json()) if answer.content else None) == keys


def test_drafts_need_not_be_listed(serve: Serve, write: Write) -> None:
    sandbox = serve(scenario(drafts_listed=False))
    own_id = write(sandbox, "POST", **body(isDraft=True)).json()["id"]
    assert write(sandbox, "GET").json() == []
    assert write(sandbox, "GET", own_id).json()["isDraft"]


def test_numbers_can_come_back_as_strings(serve: Serve, write: Write) -> None:
    sandbox = serve(scenario(returned_values="strings"))
    fields = [{"type": "number", "id": "1", "data": 2.5}, {"type": "status", "id": "2", "data": None}]
    made = write(sandbox, "POST", data={"type": "fields", "dataset": fields}).json()
    assert [field["data"] for field in made["data"]["dataset"]] == ["2.5", None]
