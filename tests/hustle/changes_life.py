"""A life with changed rows only: two warehouses that one store serves, whose parts get lost or old."""

from __future__ import annotations

import copy
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from api_sandbox import HustleScenario, Scenario, serve_in_thread

from tests.hustle.account import ORGANIZATIONS, STREAMS, Account, Edit, life_settings
from tests.hustle.running import Ending, MachineClock, Ran, discovered, run
from tests.hustle.warehouse import Fields, Tables, Warehouse, copied

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from api_sandbox import Fault

Loaded = Literal["all", "acknowledged", "some"]
"""What a loader that was killed had written: all that it had, what its last STATE stands for, or something between."""
MAPS: dict[str, dict[str, Any]] = {
    "none": {},
    "filter": {"agents": {"__filter__": "record['id'] < 'V'"}},
    "label": {"agents": {"label": "record.get('name')"}, "groups": {"label": "record.get('name')"}},
}


@dataclass
class Job:
    """A warehouse, with the STATE that belongs to it.

    Attributes:
        states: Every STATE that it acknowledged, each with the number of runs that there had been.
    """

    tables: Tables = field(default_factory=dict)
    state: Any = None
    states: list[tuple[int, Any]] = field(default_factory=list)
    began: int = 0
    """The number of the run that its STATE is from."""


class ChangesLife:
    """Whatever happens: after a run that read a table whole, the table is the truth, and no row is ever missing."""

    def __init__(self, *, parallel: int = 1, activate: bool = True) -> None:
        self._open = ExitStack()
        scenario = HustleScenario(
            organizations=ORGANIZATIONS, groups=4, agents=3, tags=1, leads=0, requests_per_second=None
        )
        self._sandbox = self._open.enter_context(serve_in_thread(Scenario(hustle=scenario)))
        self._folder = Path(self._open.enter_context(TemporaryDirectory()))
        api = self._sandbox.run(lambda sandbox: sandbox.hustle)
        self._account = Account(api)
        self._jobs = [Job(), Job()]
        self._runs = 0
        self._copied: list[tuple[int, Path]] = []
        self._from = 0
        self._map = "none"
        self._without: tuple[str, ...] = ()
        self._wanted: list[str] | None = None
        self._settings = life_settings(self._sandbox, parallel=parallel, activate=activate) | {
            "skip_forbidden": list(STREAMS),
            "changes_only": True,
            "changes_url": f"sqlite:///{self._store}",
            "max_deleted_share": 1,
        }
        self.sent: list[dict[str, Any]] = []

    def end(self) -> None:
        """Stop what serves the account."""
        self._open.close()

    @property
    def _store(self) -> Path:
        return self._folder / "store.db"

    def organization(self, number: int) -> str:
        """The id of an organization."""
        return self._account.every_organization[number]

    def requests(self) -> int:
        """How many requests there were."""
        report = self._sandbox.report()
        return report.requests + report.token_requests

    def ids(self, name: str, organization: int) -> list[str]:
        """The ids of the rows of an organization."""
        owner = self._account.every_organization[organization]
        return [fields["id"] for fields in self._account.rows(name) if fields["organizationId"] == owner]

    # What happens

    def happen(self, *edits: Edit) -> None:
        """Let something happen to the account."""
        for edit in edits:
            self._account.happen(edit)

    def wait(self, seconds: float) -> None:
        """Let time go by."""
        self._account.now += seconds

    def choose(self, **settings: Any) -> None:
        """Change settings."""
        self._settings |= settings

    def choose_map(self, name: str) -> None:
        """Choose other stream maps."""
        self._map = name

    def deselect(self, *properties: str) -> None:
        """Leave out properties of all streams."""
        self._without = properties

    def choose_organizations(self, *chosen: int) -> None:
        """Read these only, or all."""
        self._wanted = [self._account.every_organization[number] for number in chosen] or None

    def put_back(self, back: int, job: int = 0, run: int | None = None) -> None:
        """Put back an older STATE, such as one of a run. The tables stay as they are.

        While no run has met an older copy of the store, the STATE must be from a run that the copy does not know: of
        two old parts that fit together nobody can tell that they are old.
        """
        one = self._jobs[job]
        known = [(number, state) for number, state in one.states if number >= self._from and run in {None, number}]
        if known:
            one.began, one.state = known[-min(back, len(known))]

    def lose_state(self, job: int = 0) -> None:
        """Lose a STATE."""
        self._jobs[job].state, self._jobs[job].began = None, self._runs

    def lose_store(self) -> None:
        """Lose the store."""
        self._store.unlink(missing_ok=True)

    def copy_store(self, back: int) -> None:
        """Put back an older copy of the store, if no STATE is as old."""
        if self._copied:
            number, path = self._copied[-min(back, len(self._copied))]
            if all(job.state is None or job.began > number for job in self._jobs):
                shutil.copy(path, self._store)
                self._from = number + 1

    # Runs

    def read(
        self,
        job: int = 0,
        faults: Sequence[Fault] = (),
        ending: Ending = Ending(),  # noqa: B008 - frozen
        loaded: Loaded = "all",
        share: float = 0.5,
    ) -> Ran:
        """Run the tap, and see whether what must hold after it does."""
        one = self._jobs[job]
        self._runs += 1
        was_whole = "resume" not in str(one.state)
        before = copied(one.tables)
        self._sandbox.faults.replace(*faults)
        clock = MachineClock(self._account, 0, 6)
        ran = run(self._all_settings(), self._catalog(), copy.deepcopy(one.state), clock, ending=ending)
        self._sandbox.faults.clear()
        self._from = 0  # what the store was before is known to nobody any more
        assert not any("defect" in sentence for sentence in ran.said), ran.said
        self.sent = [message for message in ran.messages if message["type"] == "RECORD"]
        self._load(one, ran, loaded if ran.is_cut else "all", share)
        self._check_nothing_missing(before, one.tables)
        if ran.code == 0 and not ran.is_cut and was_whole:
            self._check_truth(one.tables, ran)
        shutil.copy(self._store, copied_to := self._folder / f"{self._runs}.db")
        self._copied.append((self._runs, copied_to))
        self._account.now += 10
        return ran

    def _load(self, job: Job, ran: Ran, loaded: Loaded, share: float) -> None:
        """Let the loader write messages, and acknowledge STATEs."""
        states = [number + 1 for number, message in enumerate(ran.messages) if message["type"] == "STATE"]
        acknowledged = [0, *states][round(share * len(states))] if ran.is_cut else len(ran.messages)
        written = {
            "all": len(ran.messages),
            "acknowledged": acknowledged,
            "some": acknowledged + round(share * (len(ran.messages) - acknowledged)),
        }[loaded]
        warehouse = Warehouse(job.tables, removes="older")
        for number, message in enumerate(ran.messages[:written]):
            warehouse.load(message)
            if message["type"] == "STATE" and number < acknowledged:
                self._acknowledge(job, message["value"])
        job.tables = warehouse.tables

    def _acknowledge(self, job: Job, state: Any) -> None:
        if state != job.state:
            # The first STATE is the one that was given: it may stand for an earlier run.
            begun = any("changes" in one for one in state.get("bookmarks", {}).values())
            job.began = self._runs if begun and state != job.state else job.began
            job.state = state
            job.states.append((job.began, state))

    def _all_settings(self) -> dict[str, Any]:
        return {"stream_maps": MAPS[self._map], **self._settings, "organization_ids": self._wanted}

    def _catalog(self) -> dict[str, Any]:
        catalog = discovered()
        for stream in catalog["streams"]:
            for entry in stream["metadata"]:
                if not entry["breadcrumb"]:
                    entry["metadata"]["selected"] = stream["tap_stream_id"] in STREAMS
                elif entry["breadcrumb"][-1] in self._without:
                    entry["metadata"]["selected"] = False
        return catalog

    # What must hold

    def _rows(self, name: str) -> Iterator[Fields]:
        """The rows of a stream that can be read."""
        for fields in self._account.rows(name):
            if self._is_readable(name, fields):
                yield fields

    def _is_readable(self, name: str, fields: Fields) -> bool:
        owner = fields["id"] if name == "organizations" else fields.get("organizationId")
        are_listed = not self._account.is_forbidden_now("organizations", None)
        is_there = name != "groups" or (are_listed and owner in self._account.organizations)
        is_wanted = self._wanted is None or owner is None or owner in self._wanted
        return is_there and is_wanted and not self._account.is_forbidden_now(name, owner)

    def _is_kept(self, name: str, fields: Fields) -> bool:
        return name != "agents" or self._map != "filter" or fields["id"] < "V"

    def _check_nothing_missing(self, before: Tables, after: Tables) -> None:
        for name in STREAMS:
            for fields in self._rows(name):
                if fields["id"] in before.get(name, {}) and self._is_kept(name, fields):
                    assert fields["id"] in after[name], f"{name}: {fields['id']} is missing"

    def _check_truth(self, tables: Tables, ran: Ran) -> None:
        columns = {
            message["stream"]: [name for name in message["schema"]["properties"] if name != "_sdc_deleted_at"]
            for message in ran.messages
            if message["type"] == "SCHEMA"
        }
        for name, own in columns.items():
            if self._account.is_forbidden_now(name, None) or (name == "organizations" and not self._wanted_visible):
                continue
            table = tables.get(name, {})
            rows = {fields["id"]: fields for fields in self._rows(name) if self._is_kept(name, fields)}
            for own_id, fields in rows.items():
                assert own_id in table, f"{name}: {own_id} is missing"
                row = {column: table[own_id].fields.get(column) for column in own}
                told = {name: value for name, value in fields.items() if name not in self._without}
                truth = {column: told.get("name" if column == "label" else column) for column in own}
                assert row == truth, f"{name}: {own_id}"
            for own_id in table.keys() - rows.keys():
                assert name == "groups", f"{name}: {own_id} should be gone"
                assert not self._is_readable(name, table[own_id].fields), f"{name}: {own_id} should be gone"

    @property
    def _wanted_visible(self) -> list[str]:
        return [own for own in self._account.organizations if self._wanted is None or own in self._wanted]
