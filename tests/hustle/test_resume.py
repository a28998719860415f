"""Going on where a run stopped, while rows, settings and STATE change in between: nothing is lost, nothing claimed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.conftest import Received
    from tests.hustle.conftest import Run

    Tap = Callable[..., Run]

PAGE = 10
RELEASED = sorted((Path(__file__).parent / "states").glob("*.json"))
NEW = "2026-01-01T00:00:00Z"


@dataclass
class Account:
    """Lists that a test changes between two runs; a cursor is a page's number and size, as the vendor's are.

    Attributes:
        rows: The rows of each list.
        status: What the page at a place, by list and number, is answered with in place of its rows.
        unended: The pages after which a list claims to go on, and gives no cursor.
        is_cut: Whether runs are cut off where they come to the tags: their credentials are refused from there on.
        tokens: How many were given.
    """

    rows: dict[str, list[dict[str, Any]]]
    status: dict[tuple[str, int], int] = field(default_factory=dict)
    unended: set[tuple[str, int]] = field(default_factory=set)
    is_cut: bool = False
    tokens: int = 0
    answer: Callable[..., bytes] = field(repr=False, default=lambda *_: b"")

    def by(self, request: Received, _ordinal: int) -> bytes:
        url = urlsplit(request.target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        name = url.path.removeprefix("/")
        if request.method == "POST":
            self.tokens += 1
            return self.answer(200 if self.tokens == 1 else 401, '{"access_token":"t","expires_in":7200}')
        if name == "tags" and self.is_cut:
            return self.answer(401)
        number, size = map(int, query.get("cursor", f"0-{query['limit']}").split("-"))
        if (name, number) in self.status:
            return self.answer(self.status[name, number], "")
        own = self.rows.get(name, [])
        if (organization := query.get("organizationId")) is not None:
            own = [row for row in own if row["organizationId"] == organization]
        begin = number * size
        goes_on = begin + size < len(own)
        is_unended = (name, number) in self.unended
        cursor = f"{number + 1}-{size}" if goes_on and not is_unended else None
        body = {"items": own[begin : begin + size], "cursor": cursor, "hasMore": goes_on or is_unended}
        return self.answer(200, json.dumps(body))

    def ids(self, stream: str) -> list[str]:
        return sorted(row["id"] for row in self.rows[stream])


def rows(kind: str, organization: str, count: int, first: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{kind}-{organization}-{number}",
            "organizationId": organization,
            "createdAt": f"2025-01-01T00:{number // 60:02}:{number % 60:02}Z",
        }
        for number in range(first, first + count)
    ]


@pytest.fixture
def account(answer: Callable[..., bytes]) -> Account:
    """Two organizations with eight pages of leads and of agents each."""
    names = ("a", "b")
    return Account(
        {
            "organizations": [{"id": name, "createdAt": NEW} for name in names],
            "leads": [row for name in names for row in rows("lead", name, 8 * PAGE)],
            "agents": [row for name in names for row in rows("agent", name, 8 * PAGE)],
        },
        answer=answer,
    )


@pytest.fixture
def catalog(tap: Tap) -> Callable[..., dict[str, Any]]:
    """A catalog of some streams, full tables unless they are to be read INCREMENTAL."""

    def of(*streams: str, method: str = "FULL_TABLE", deselected: tuple[str, ...] = ()) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(tap("--discover", config={"client_id": "a", "client_secret": "b"}).stdout)
        for entry in found["streams"]:
            entry["replication_method"] = method
            for item in entry["metadata"]:
                if not item["breadcrumb"]:
                    item["metadata"]["selected"] = entry["stream"] in streams
                elif item["breadcrumb"][-1] in deselected:
                    item["metadata"] = {"inclusion": "available", "selected": False}
        return found

    return of


@pytest.fixture
def read(tap: Tap, raw_server: Callable[..., Any], account: Account, catalog: Any) -> Callable[..., Run]:
    """Read some streams of the account in small pages."""
    server = raw_server(by=account.by)

    def run(*streams: str, state: Any = None, method: str = "FULL_TABLE", deselected: Any = (), **more: Any) -> Run:
        account.tokens = 0
        config = {"client_id": "a", "client_secret": "b", "api_url": server.url, "page_size": PAGE}
        config |= {"requests_per_second": 5000, "emit_activate_version_messages": True, **more}
        chosen = catalog(*streams, method=method, deselected=deselected)
        return tap(config=config, catalog=chosen, state=state or {}, leaps=True)

    return run


def table(stream: str, *runs: Run) -> dict[str, Any]:
    """What a loader keeps that upserts by key and removes, with ACTIVATE_VERSION, the rows of other versions."""
    kept: dict[str, Any] = {}
    for message in (message for run in runs for message in run.messages if message.get("stream") == stream):
        if message["type"] == "RECORD":
            kept[message["record"]["id"]] = message
        elif message["type"] == "ACTIVATE_VERSION":
            kept = {own: row for own, row in kept.items() if row.get("version") == message["version"]}
    return kept


def activations(stream: str, *runs: Run) -> int:
    return sum(len(run.of_type("ACTIVATE_VERSION", stream)) for run in runs)


@pytest.fixture
def read_and_cut(account: Account, read: Callable[..., Run]) -> Callable[..., Run]:
    """Read some streams to their ends, and be cut off before the run is at its own."""

    def run(*streams: str, **more: Any) -> Run:
        account.is_cut = True
        cut = read(*streams, "tags", max_parallel_requests=1, **more)
        account.is_cut = False
        assert cut.code == 1
        assert all(cut.states[-1]["bookmarks"][stream]["resume"]["done"] for stream in streams)
        return cut

    return run


# Full tables


@pytest.fixture
def cut(account: Account, read: Callable[..., Run]) -> Run:
    """A run that failed in the middle of the leads of the second organization."""
    account.status["leads", 5] = 400
    account.rows["leads"] = [row for row in account.rows["leads"] if row["organizationId"] == "b"]
    account.rows["organizations"] = account.rows["organizations"][1:]
    run = read("leads")
    assert run.code == 1
    assert len(run.ids("leads")) == 5 * PAGE
    account.status.clear()
    return run


def test_rows_deleted_before_the_place_do_not_shift_others_out_of_sight(
    account: Account, read: Callable[..., Run], cut: Run
) -> None:
    gone = account.rows["leads"][: PAGE + 3]
    del account.rows["leads"][: PAGE + 3]
    rest = read("leads", state=cut.states[-1])
    assert rest.code == 0
    assert activations("leads", cut, rest) == 1
    assert set(table("leads", cut, rest)) >= set(account.ids("leads"))
    (warning,) = rest.said("WARNING")
    assert "leads (organizationId b)" in warning
    # What went in between is gone with the next run: this one began before.
    last = read("leads", state=rest.states[-1])
    assert sorted(table("leads", cut, rest, last)) == account.ids("leads")
    assert not {row["id"] for row in gone} & set(table("leads", cut, rest, last))


def test_rows_deleted_in_the_page_itself_are_filled_up_by_others(
    account: Account, read: Callable[..., Run], cut: Run
) -> None:
    del account.rows["leads"][4 * PAGE + 2 : 4 * PAGE + 5]
    rest = read("leads", state=cut.states[-1])
    assert rest.code == 0
    assert rest.said("WARNING") == []
    assert set(table("leads", cut, rest)) >= set(account.ids("leads"))
    assert len(rest.ids("leads")) == 4 * PAGE - 3  # the page that was the last, and those after it


@pytest.mark.parametrize("left", [0, 2 * PAGE])
def test_a_place_where_nothing_is_left_is_no_end(
    account: Account, read: Callable[..., Run], cut: Run, left: int
) -> None:
    account.rows["leads"] = account.rows["leads"][:left]
    rest = read("leads", state=cut.states[-1])
    assert rest.code == 0
    assert len(rest.said("WARNING")) == 1
    assert sorted(rest.ids("leads")) == account.ids("leads")


def test_a_place_that_fails_for_ever_is_given_up(account: Account, read: Callable[..., Run], cut: Run) -> None:
    account.rows["leads"] = account.rows["leads"][:30]
    account.status["leads", 4] = 500
    rest = read("leads", state=cut.states[-1])
    assert rest.code == 0, rest.said("ERROR")
    assert sorted(rest.ids("leads")) == account.ids("leads")


def test_an_api_that_fails_everywhere_loses_no_place(account: Account, read: Callable[..., Run], cut: Run) -> None:
    account.status |= {("leads", number): 500 for number in range(9)}
    failed = read("leads", state=cut.states[-1])
    assert failed.code == 1
    before, after = (run.states[-1]["bookmarks"]["leads"] for run in (cut, failed))
    assert after == before


CHANGES: dict[str, dict[str, Any]] = {
    "organizations": {"organization_ids": None},
    "credentials": {"client_id": "those of another account"},
    "page size": {"page_size": PAGE - 1},
    "maps": {"stream_maps": {"leads": {"name": "id"}}},
    "filters of maps": {"stream_maps": {"leads": {"__filter__": "id != 'lead-a-0'"}}},
    "versions": {"emit_activate_version_messages": False},
    "selection": {"deselected": ("phoneNumber",)},
    "U+0000": {"keep_nul": True},
    "flattening": {"flattening_enabled": True, "flattening_max_depth": 1},
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_read_with_other_settings_is_read_again(
    account: Account, read: Callable[..., Run], read_and_cut: Callable[..., Run], change: str
) -> None:
    narrow = {"organization_ids": ["a"]}
    first = read_and_cut("leads", **narrow)
    assert activations("leads", first) == 1
    same = read("leads", "tags", state=first.states[-1], **narrow)
    assert same.ids("leads") == []  # the run before was done with it
    assert activations("leads", same) == 0
    second = read("leads", "tags", state=first.states[-1], **{**narrow, **CHANGES[change]})
    assert second.code == 0
    wanted = {"a"} if change != "organizations" else {"a", "b"}
    expected = {row["id"] for row in account.rows["leads"] if row["organizationId"] in wanted}
    assert {*second.ids("leads")} == expected - ({"lead-a-0"} if change == "filters of maps" else set())
    assert any("leads" in line and "settings" in line for line in second.said("WARNING"))
    if change != "versions":
        assert set(table("leads", first, second)) == {*second.ids("leads")}


def test_settings_that_decide_nothing_of_the_rows_change_nothing(
    read: Callable[..., Run], read_and_cut: Callable[..., Run]
) -> None:
    state = read_and_cut("leads").states[-1]
    second = read("leads", "tags", state=state, max_parallel_requests=2, user_agent="x", predict_cursors=False)
    assert second.ids("leads") == []
    assert second.said("WARNING") == []


def test_a_list_that_claims_to_go_on_activates_nothing(
    account: Account, read: Callable[..., Run], read_and_cut: Callable[..., Run]
) -> None:
    first = read("agents")
    account.unended.add(("agents", 3))
    second = read("agents", state=first.states[-1])
    assert second.code == 0
    assert len(second.ids("agents")) == 4 * PAGE
    assert set(table("agents", first, second)) == set(account.ids("agents"))
    assert any("ACTIVATE_VERSION" in line for line in second.said("WARNING"))
    # Nor does a run that goes on behind it.
    third = read_and_cut("agents", state=second.states[-1])
    fourth = read("agents", state=third.states[-1])
    assert activations("agents", third, fourth) == 0


def test_a_part_that_claims_to_go_on_is_not_done(account: Account, read: Callable[..., Run]) -> None:
    account.unended.add(("leads", 3))
    account.status["leads", 7] = 400
    first = read("leads")
    account.status.clear()
    account.unended.clear()
    second = read("leads", state=first.states[-1])
    assert set(table("leads", first, second)) == set(account.ids("leads"))
    assert activations("leads", first, second) == 1


def test_an_empty_list_of_organizations_removes_nothing(account: Account, read: Callable[..., Run]) -> None:
    first = read("organizations", "leads", "agents")
    for stream in ("organizations", "agents"):
        account.rows[stream] = []
    second = read("organizations", "leads", "agents", state=first.states[-1])
    assert second.code == 0
    assert activations("leads", second) == activations("organizations", second) == 0
    assert activations("agents", second) == 1  # they may well be gone
    assert len([line for line in second.said("WARNING") if "ACTIVATE_VERSION" in line]) == 2


def test_what_is_forbidden_and_left_out_removes_nothing_in_a_later_run_either(
    account: Account, read: Callable[..., Run], read_and_cut: Callable[..., Run]
) -> None:
    account.status["agents", 3] = 403
    known = {"skip_forbidden": ["agents"]}
    first = read_and_cut("agents", **known)
    second = read("agents", "leads", state=first.states[-1], **known)
    assert activations("agents", first, second) == 0
    assert second.code == 0


def test_two_reads_have_two_versions(account: Account, read: Callable[..., Run]) -> None:
    runs = [read("agents")]
    for _ in range(3):
        del account.rows["agents"][0]
        runs.append(read("agents", state=runs[-1].states[-1]))
    assert sorted(table("agents", *runs)) == account.ids("agents")


@pytest.mark.parametrize("more", [{}, {"method": "INCREMENTAL"}, {"emit_activate_version_messages": False}])
def test_two_streams_of_one_table_cannot_have_versions(
    read: Callable[..., Run], account: Account, more: dict[str, Any]
) -> None:
    maps = {"agents": {"__alias__": "people"}, "leads": {"__alias__": "people"}, "tags": {"__alias__": "people"}}
    run = read("agents", "leads", stream_maps=maps, **more)
    if more:  # no version removes anything then
        assert run.code == 0
        assert len(run.ids("people")) == len(account.ids("agents")) + len(account.ids("leads"))
    else:
        assert (run.code, run.stdout) == (1, b"")
        assert any("writes agents and leads to one table, people" in line for line in run.said("ERROR"))
        assert read("agents", stream_maps=maps).code == 0


def test_a_stream_that_was_not_selected_is_not_taken_for_read(
    account: Account, read: Callable[..., Run], read_and_cut: Callable[..., Run]
) -> None:
    second = read("agents", state=read_and_cut("leads").states[-1])
    third = read("leads", "agents", state=second.states[-1])
    assert sorted(third.ids("leads")) == account.ids("leads")


# INCREMENTAL


def test_organizations_that_are_added_later_arrive(account: Account, read: Callable[..., Run]) -> None:
    first = read("agents", "leads", method="INCREMENTAL", organization_ids=["a"])
    second = read("agents", "leads", method="INCREMENTAL", state=first.states[-1])
    assert second.code == 0
    assert {*first.ids("agents"), *second.ids("agents")} == set(account.ids("agents"))
    assert {*first.ids("leads"), *second.ids("leads")} == set(account.ids("leads"))
    (warning,) = second.said("WARNING")
    assert warning.startswith("agents: ")
    assert len(second.ids("leads")) == 9 * PAGE  # each organization has a bookmark of its own
    third = read("agents", "leads", method="INCREMENTAL", state=second.states[-1])
    assert third.said("WARNING") == []
    assert len(third.ids("agents")) == PAGE


def test_new_rows_arrive_where_old_ones_are_gone(account: Account, read: Callable[..., Run]) -> None:
    first = read("agents", method="INCREMENTAL")
    del account.rows["agents"][:60]
    account.rows["agents"] += rows("agent", "b", 30, first=500)
    second = read("agents", method="INCREMENTAL", state=first.states[-1])
    assert {*first.ids("agents"), *second.ids("agents")} >= set(account.ids("agents"))
    (warning,) = second.said("WARNING")
    assert "agents" in warning


def test_a_cursor_that_fails_for_ever_is_given_up(account: Account, read: Callable[..., Run]) -> None:
    first = read("agents", method="INCREMENTAL")
    cursor = first.states[-1]["bookmarks"]["agents"]["cursor"]
    account.rows["agents"] = account.rows["agents"][: 4 * PAGE]
    account.status["agents", int(cursor.partition("-")[0])] = 503
    second = read("agents", method="INCREMENTAL", state=first.states[-1])
    assert second.code == 0
    assert sorted(second.ids("agents")) == account.ids("agents")


def test_keys_are_always_in_the_record(read: Callable[..., Run]) -> None:
    chosen = read("agents", method="INCREMENTAL", deselected=("id", "createdAt", "name"))
    assert chosen.code == 0
    assert all(record.keys() == {"id", "createdAt", "organizationId"} for record in chosen.records("agents"))
    bookmark = chosen.states[-1]["bookmarks"]["agents"]
    assert bookmark["replication_key_value"] == max(record["createdAt"] for record in chosen.records("agents"))


def test_rows_without_their_replication_key_leave_none(account: Account, read: Callable[..., Run]) -> None:
    for row in account.rows["agents"]:
        del row["createdAt"]
    bookmark = read("agents", method="INCREMENTAL").states[-1]["bookmarks"]["agents"]
    assert bookmark.keys() == {"cursor", "begins_with", "fingerprint", "holds"}


@pytest.mark.parametrize("missing", ["id", "createdAt"])
def test_a_catalog_without_a_key_is_refused(tap: Tap, catalog: Callable[..., Any], missing: str) -> None:
    chosen = catalog("agents", method="INCREMENTAL")
    for entry in chosen["streams"]:
        entry["schema"]["properties"].pop(missing, None)
    run = tap(config={"client_id": "a", "client_secret": "b", "api_url": "http://127.0.0.1:9"}, catalog=chosen)
    assert run.code > 0
    assert run.stdout == b""
    assert "Traceback" not in run.stderr
    (sentence,) = run.said("ERROR")
    assert missing in sentence
    assert "catalog" in sentence


# STATE of other versions, and of nobody


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
@pytest.mark.parametrize("method", ["FULL_TABLE", "INCREMENTAL"])
def test_the_state_of_every_released_layout_loses_nothing(
    account: Account, read: Callable[..., Run], path: Path, method: str
) -> None:
    streams = ("organizations", "leads", "agents")
    state = json.loads(path.read_text())
    run = read(*streams, state=state, method=method)
    assert run.code == 0, run.said("ERROR")
    for stream in streams:
        assert set(run.ids(stream)) == set(account.ids(stream)), stream
    warned = {warning.partition(":")[0] for warning in run.said("WARNING")}
    assert warned == {"leads", "agents"}
    assert '"limit"' not in json.dumps(run.states[-1])


BROKEN: tuple[Any, ...] = (
    {"resume": "nonsense"},
    {"resume": {}},
    {"resume": {"version": None}},
    {"resume": {"version": "x"}},
    {"resume": {"version": 4_000_000_000_000_000}},
    {"resume": {"version": 1, "done": True}},
    {"version": "x"},
    {"cursor": {"page": 1}},
    {"cursor": 7, "fingerprint": "x"},
    {"replication_key_value": 17},
    {"partitions": None},
    {"partitions": "nonsense"},
    {"partitions": {"context": {"organizationId": "a"}}},
    {"partitions": [None, 1, [], {}, {"context": None}, {"context": {"organizationId": ["a"]}}]},
    {"partitions": [{"context": {"organizationId": 1}, "resume": "nonsense"}]},
    {"partitions": [{"context": {"organizationId": "a"}, "cursor": cursor} for cursor in ("1", "2")]},
    {"progress_markers": {"replication_key_value": "x"}, "replication_key_signpost": "x"},
    {"progress_markers": "x"},
    None,
    [],
    "nonsense",
    3,
)


LISTS = ("organizations", "groups", "agents", "leads", "tags", "custom_fields", "integrations", "webhook_registrations")


@pytest.mark.parametrize("first", range(0, len(BROKEN), len(LISTS)))
@pytest.mark.parametrize("turn", [0, 3])
def test_a_state_that_is_none_of_ours_loses_nothing(
    *,
    tap: Tap,
    standing: RunningSandbox,
    settings: Callable[..., dict[str, Any]],
    assert_complete: Callable[..., None],
    assert_clean: Callable[[Any], None],
    first: int,
    turn: int,
) -> None:
    broken = BROKEN[first : first + len(LISTS)]
    # Each in a list that is read by organization and in one that is not.
    bookmarks = dict(zip((*LISTS[turn:], *LISTS[:turn]), broken, strict=False))
    run = tap(config=settings(standing), state={"bookmarks": {**bookmarks, "no_stream_of_ours": broken[0]}})
    assert "Traceback" not in run.stderr
    assert run.code == 0
    assert_complete(run, standing)
    for name in LISTS:
        assert_clean(run.states[-1]["bookmarks"][name])
    warned = {line.partition(":")[0] for line in run.said("WARNING")}
    assert warned <= {*bookmarks, "no_stream_of_ours"}
