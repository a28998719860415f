"""A life: one account, the tap that reads it and the warehouse that loads it, and what must hold after each run."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

from api_sandbox import HustleScenario, Scenario, serve_in_thread

from tests.hustle.account import ORGANIZATIONS, STREAMS, Account, Edit, life_settings
from tests.hustle.running import Ending, MachineClock, Pipe, Ran, discovered, run
from tests.hustle.warehouse import Fields, Saved, Tables, Warehouse, copied
from tests.merging import merged

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from api_sandbox import Fault

FULL, INCREMENTAL = "FULL_TABLE", "INCREMENTAL"
Spoiling = Literal["lost", "twice", "number", "object", "no context", "old layout"]


class Life:
    """Whatever happens, in any order.

    After a run that ends well the tables are the truth; after any other, nothing is lost that was there. What they may
    lack is what docs/state.md says cannot be seen, and nothing else.

    Args:
        parallel: How many requests the tap may send at once.
        pace: How slow everything is: seconds that go by whenever the tap looks at its clock. With 6, a STATE comes
            after each page.
        activate: Whether the tap sends ACTIVATE_VERSION.
        removes: What the loader then removes.
    """

    def __init__(
        self,
        *,
        parallel: int = 1,
        pace: int = 6,
        activate: bool = True,
        removes: Literal["other", "older"] = "other",
        merges: bool = False,
    ) -> None:
        scenario = HustleScenario(
            organizations=ORGANIZATIONS, groups=5, agents=3, tags=1, leads=0, requests_per_second=None
        )
        self._served = serve_in_thread(Scenario(hustle=scenario))
        self._sandbox = self._served.__enter__()
        self._api = self._sandbox.run(lambda sandbox: sandbox.hustle)
        self._account = Account(self._api)
        self._pace = pace
        self._wrong = 0.0
        self._removes = removes
        self._merges = merges
        self._tables: Tables = {}
        self._saved = Saved(None, {}, {})
        self._history: list[Saved] = []
        self._methods = dict.fromkeys(STREAMS, FULL)
        self._selected = set(STREAMS)
        self._without: set[str] = set()
        self._settings = life_settings(self._sandbox, parallel=parallel, activate=activate)

    def end(self) -> None:
        """Stop what serves the account."""
        self._served.__exit__(None, None, None)

    # What happens to the account, to the settings and to what was kept

    def happen(self, *edits: Edit) -> None:
        """Let something happen to the account."""
        for edit in edits:
            self._account.happen(edit)

    def wait(self, seconds: int) -> None:
        """Let time go by."""
        self._account.now += seconds

    def set_clock(self, ahead: int) -> None:
        """Set the clock of the machine that the tap is on."""
        self._wrong = ahead

    def choose(self, **settings: Any) -> None:
        """Change settings."""
        self._settings |= settings

    def choose_organizations(self, *chosen: int) -> None:
        """Read these only, by their places among all that there ever were; every one where none is named."""
        every = self._account.every_organization
        self._settings["organization_ids"] = [every[number] for number in chosen] or None

    def choose_method(self, method: str, *streams: str) -> None:
        """Choose how streams are read."""
        self._methods.update(dict.fromkeys(streams, method))

    def deselect(self, streams: Collection[str] = (), properties: Collection[str] = ()) -> None:
        """Select everything but some streams, and some properties of all of them."""
        self._selected = set(STREAMS).difference(streams)
        self._without = set(properties)

    def restore(self, back: int) -> None:
        """Go back to what was kept some STATEs ago: the tables and the STATE."""
        if self._history:
            self._saved = self._history[-min(back, len(self._history))]
            self._tables = copied(self._saved.tables)

    def spoil_state(self, how: Spoiling) -> None:
        """Lose the STATE, or make of it what no run of today has left."""
        state = copy.deepcopy(self._saved.state)
        for bookmark in (state or {}).get("bookmarks", {}).values():
            _spoil(bookmark, how)
        self._saved = Saved(None, {}, {}) if how == "lost" else Saved(state, self._saved.tables, self._saved.began)

    # Runs

    def read(
        self,
        faults: Sequence[Fault] = (),
        meanwhile: Sequence[tuple[int, Edit]] = (),
        ending: Ending = Ending(),  # noqa: B008 - frozen
        pipe: Pipe = "buffered",
        *,
        is_slow: bool = False,
        is_kept: bool = False,
    ) -> Ran:
        """Run the tap, and see whether what must hold after it does.

        Args:
            faults: What is wrong with the API.
            meanwhile: What happens to the account, each before the answer to the request of that number.
            ending: How the run ends.
            pipe: What stdout is.
            is_slow: Whether the loader is.
            is_kept: Whether a loader that ends in the middle has written what came after its last STATE. Only one that
                removes older versions may: to others the next run might give an older version than the one written.
        """
        account, given = self._account, self._saved
        run_of = Reading(
            started=account.now,
            began=self._began(),
            before=copied(self._tables),
            is_quiet=not faults and not meanwhile and not account.is_anything_forbidden,
            cut_off={fault.path.strip("/") for fault in faults if fault.kind == "more_without_cursor"},
            had_organizations=bool(account.organizations),
        )
        ran = self._ran(faults, meanwhile, ending, pipe, is_slow=is_slow)
        assert not any("defect" in sentence for sentence in ran.said), ran.said
        warehouse = Warehouse(self._tables, removes=self._removes)
        for message in ran.messages:
            warehouse.load(message)
        for number, (state, tables) in enumerate(warehouse.states):
            if number > 0 or state != given.state:  # the first is the one that was given
                kept = merged(state, self._saved.state if self._merges else None)
                self._saved = Saved(kept, tables, {**given.began, **run_of.began})
                self._history.append(self._saved)
            self._check_state(state)
        if ran.is_cut and not (is_kept and self._removes == "older"):
            self._tables = copied(warehouse.states[-1][1]) if warehouse.states else run_of.before
        else:
            self._tables = warehouse.tables
            self._check_nothing_lost(run_of)
        if ran.code == 0 and not ran.is_cut:
            self._check_truth(run_of, warehouse)
            unread = {name: then for name, then in self._saved.began.items() if name not in self._selected}
            self._saved = Saved(self._saved.state, copied(self._tables), unread)
            self._history.append(self._saved)
        account.now += 10
        return ran

    def _ran(
        self,
        faults: Sequence[Fault],
        meanwhile: Sequence[tuple[int, Edit]],
        ending: Ending,
        pipe: Pipe,
        *,
        is_slow: bool,
    ) -> Ran:
        account = self._account
        ordinals = count(1)

        def before_answer(_path: str) -> None:
            ordinal = next(ordinals)
            for when, edit in meanwhile:
                if when == ordinal:
                    account.happen(edit)

        self._sandbox.faults.replace(*faults)
        self._api.before_answer = before_answer
        account.is_read = True
        try:
            return run(
                self._settings,
                self._catalog(),
                copy.deepcopy(self._saved.state),
                MachineClock(account, self._wrong, self._pace),
                pipe=pipe,
                is_slow=is_slow,
                ending=ending,
            )
        finally:
            account.is_read = False
            self._api.before_answer = lambda _: None
            self._sandbox.faults.clear()

    def _began(self) -> dict[str, float]:
        """When the read of each full table began, at the earliest."""
        now = self._account.now
        oldest = now - self._settings.get("resume_max_age", 86_400) - 1
        return {name: max(self._saved.began.get(name, now), oldest) for name in self._selected if self._is_full(name)}

    def _is_full(self, name: str) -> bool:
        return self._methods[name] == FULL

    def _catalog(self) -> dict[str, Any]:
        catalog = discovered()
        for stream in catalog["streams"]:
            name = stream["tap_stream_id"]
            for entry in stream["metadata"]:
                if not entry["breadcrumb"]:
                    entry["metadata"]["selected"] = name in self._selected
                    if name in STREAMS:
                        entry["metadata"]["replication-method"] = self._methods[name]
                elif entry["breadcrumb"][-1] in self._without:
                    entry["metadata"]["selected"] = False
        return catalog

    # What must hold

    def _is_wanted(self, name: str, fields: Fields) -> bool:
        wanted = self._settings.get("organization_ids")
        owner = fields["id"] if name == "organizations" else fields.get("organizationId")
        return wanted is None or owner is None or owner in wanted

    def _check_truth(self, reading: Reading, warehouse: Warehouse) -> None:
        """The table is the truth, but for what cannot be seen."""
        account = self._account
        for name in self._selected:
            table = self._tables.get(name, {})
            is_full = self._is_full(name)
            since = reading.began.get(name, 0.0)
            for fields in account.steady(name, reading.began.get(name, reading.started)):
                if self._is_seen(name, fields, since, reading):
                    assert fields["id"] in table, f"{name}: {fields['id']} is missing"
                    row = {column: table[fields["id"]].fields.get(column) for column in warehouse.columns[name]}
                    forms = account.forms(name, fields["id"], since)
                    assert _is_one_of(row, forms, is_full=is_full), f"{name}: {fields['id']} is {row}"
            if name in warehouse.activated:
                gone = [own_id for own_id in table if not account.forms(name, own_id, since)]
                assert not gone, f"{name}: {gone} should be gone"
            elif self._settings.get("emit_activate_version_messages") and is_full and reading.is_quiet:
                assert name in self._saved.began or not reading.had_organizations, f"{name}: no ACTIVATE_VERSION"

    def _is_seen(self, name: str, fields: Fields, since: float, reading: Reading) -> bool:
        """Whether a row that is there must have been read."""
        if name in reading.cut_off or (name == "groups" and "organizations" in reading.cut_off):
            return False
        return self._is_wanted(name, fields) and not (
            self._account.may_hide(name, fields, since)
            or self._account.is_forbidden(name, fields.get("organizationId"), reading.began.get(name, reading.started))
        )

    def _check_nothing_lost(self, reading: Reading) -> None:
        """What was in a table and is in the account, and was all the time, is in the table."""
        account = self._account
        for name, rows in reading.before.items():
            for fields in account.steady(name, reading.started):
                if fields["id"] in rows and self._is_wanted(name, fields):
                    is_hidden = account.may_hide(name, fields, reading.began.get(name, reading.started))
                    assert is_hidden or fields["id"] in self._tables[name], f"{name}: {fields['id']} is lost"

    def _check_state(self, state: Any) -> None:
        for bookmark in state.get("bookmarks", {}).values():
            for each in (bookmark, *bookmark.get("partitions", ())):
                if "replication_key" in each:
                    assert each["replication_key_value"], "a replication key without its value"


@dataclass(frozen=True, slots=True)
class Reading:
    """A run, as what holds after it depends on it.

    Attributes:
        started: When.
        began: When the read of each full table began that it goes on with, at the earliest.
        before: The tables before it.
        is_quiet: Nothing happened meanwhile, and nothing was wrong.
        cut_off: Lists of which the API gave a part alone.
        had_organizations: Whether there were any.
    """

    started: float
    began: dict[str, float]
    before: Tables
    is_quiet: bool
    cut_off: set[str]
    had_organizations: bool


def _is_one_of(row: Fields, forms: list[Fields], *, is_full: bool) -> bool:
    """Whether a row looks as it did once: as a whole, or each of its columns where they are read at other times."""
    if is_full:
        return any(all(form.get(column) == value for column, value in row.items()) for form in forms)
    return all(value is None or any(form.get(column) == value for form in forms) for column, value in row.items())


def _spoil(bookmark: dict[str, Any], how: Spoiling) -> None:
    partitions = bookmark.get("partitions", [])
    if how == "twice":
        partitions += copy.deepcopy(partitions)
    for each in (bookmark, *partitions):
        if how == "no context":
            each.pop("context", None)
        if how == "old layout":
            each.pop("version", None)
        for part in (each, each.get("resume", {})):
            if how == "number" and "replication_key_value" in part:
                part["replication_key_value"] = 5
            elif how == "object" and "cursor" in part:
                part["cursor"] = {"cursor": part["cursor"]}
            elif how == "old layout" and part.pop("fingerprint", None):
                part.pop("begins_with", None)
                part["limit"] = 2
                if "version" in part:
                    part["version"] //= 1000
