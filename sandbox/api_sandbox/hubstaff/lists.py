"""The lists that do not grow day by day: made whole when somebody asks for the first time."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from api_sandbox.dice import Dice
from api_sandbox.hubstaff.account import Account, Member, Organization, Project
from api_sandbox.hubstaff.clock import DAY, Clock, instant
from api_sandbox.hubstaff.recipes import recipes
from api_sandbox.hubstaff.records import Numbers, Record
from api_sandbox.hubstaff.scenario import HubstaffScenario
from api_sandbox.recipes import Fields

_FUTURE_DAYS = 60
"""Some records of the small lists begin to exist within so many days after the start."""


@dataclass(slots=True)
class Lists:
    """The records of an account, by stream and by what they belong to: an organization, or a part of it.

    Attributes:
        rows: By stream and the id of the owner, in the order of the list.
    """

    seed: int
    scenario: HubstaffScenario
    account: Account
    clock: Clock
    rows: defaultdict[str, dict[int, list[Record]]] = field(default_factory=lambda: defaultdict(dict))
    users: dict[int, Record] = field(default_factory=dict)
    _by_id: dict[str, dict[int, Record]] = field(default_factory=dict)
    _numbers: defaultdict[str, Numbers] = field(default_factory=lambda: defaultdict(lambda: Numbers(500)))

    def __post_init__(self) -> None:
        """Make everything."""
        for organization in self.account.organizations:
            self._people(organization)
            self._work(organization)
            self._teams(organization)
            self._integrations(organization)
            for stream in recipes()["small_lists"]({}):
                self._small(stream, organization)
            self._clients_of_projects(organization)
            self._balances(organization)
            content = self._make("organizations", organization, self._dice("organizations", organization.id))
            self._add("organizations", 0, content, content["id"])

    def of(self, stream: str, owner: int) -> list[Record]:
        """The records of an owner that exist by now."""
        now = self.clock.horizon()
        return [record for record in self.rows[stream].get(owner, ()) if record.since <= now]

    def find(self, stream: str, own_id: int) -> Record | None:
        """The record of an id, if it exists."""
        if stream == "users":
            return self.users.get(own_id)
        if stream not in self._by_id:
            every = (record for records in self.rows[stream].values() for record in records)
            self._by_id[stream] = {record.content["id"]: record for record in every}
        record = self._by_id[stream].get(own_id)
        return record if record is not None and record.since <= self.clock.horizon() else None

    def forget(self, stream: str, record: Record) -> None:
        """Delete a record: no list knows of it any more."""
        for records in self.rows[stream].values():
            records[:] = [one for one in records if one is not record]
        self._by_id.pop(stream, None)

    def _dice(self, *key: object) -> Dice:
        return Dice("/".join(map(str, (self.seed, *key))))

    def _make(self, recipe: str, organization: Organization, dice: Dice, **known: Any) -> Fields:
        """The fields of a record by its recipe, which may use what is known of its organization."""
        made: Fields = recipes()[recipe](
            {
                "dice": dice,
                "organization": organization,
                "owner": organization.members[0],
                "project": organization.projects[0],
                "start": self.clock.start,
                "me": self.account.me,
                "scenario": self.scenario,
                **known,
            }
        )
        return made

    def _add(self, stream: str, owner: int, content: Fields, key: int, named: str = "") -> Record:
        """Put a record at the end of a list."""
        record = Record(key, named or str(content["id"]), content)
        self.rows[stream].setdefault(owner, []).append(record)
        return record

    def _hidden(self, dice: Dice) -> bool:
        return dice.below(1000) < self.scenario.inactive_share * 1000

    def _people(self, organization: Organization) -> None:
        for member in organization.members:
            content = self._make("users", organization, self._dice("users", member.user_id), member=member)
            self.users.setdefault(member.user_id, Record(member.user_id, str(member.user_id), content))
            content = self._make(
                "members", organization, self._dice("members", organization.id, member.user_id), member=member
            )
            content["project_members"] = [self._nested(project, member, organization) for project in member.projects]
            number = self._numbers["members"].take(member.index % 3)
            self._add("members", organization.id, content, number, f"{organization.id}:{member.user_id}")
        for project in organization.projects:
            for member in organization.members:
                if project in member.projects:
                    dice = self._dice("nested", project.id, member.user_id)
                    content = self._make("project_members", organization, dice, member=member)
                    number = self._numbers["project_members"].take(member.index % 2)
                    self._add("project_members", project.id, content, number, f"{project.id}:{member.user_id}")

    def _nested(self, project: Project, member: Member, organization: Organization) -> Fields:
        """A membership of a project, within that of the organization: it does not say whose it is."""
        dice = self._dice("nested", project.id, member.user_id)
        made = self._make("project_members", organization, dice, member=member)
        del made["user_id"], made["profile"]
        return {**made, "project_id": project.id, "project_type": "project", "project_status": project.status}

    def _work(self, organization: Organization) -> None:
        for project in organization.projects:
            content = self._make("projects", organization, self._dice("projects", project.id), project=project)
            self._add("projects", organization.id, content, project.id)
        tasks = [(task, project) for project in organization.projects for task in project.tasks]
        for task, project in sorted(tasks, key=lambda pair: pair[0].id):
            dice = self._dice("tasks", task.id)
            hidden = self._hidden(dice)
            content = self._make("tasks", organization, dice, task=task, project=project, hidden=hidden)
            self._add("tasks", organization.id, content, task.id)
        for own_id in organization.todos:
            content = self._make("global_todos", organization, self._dice("global_todos", own_id), id=own_id)
            self._add("global_todos", organization.id, content, own_id)

    def _teams(self, organization: Organization) -> None:
        for number in range(self.scenario.small):
            dice = self._dice("teams", organization.id, number)
            own_id = self._numbers["teams"].take(dice.below(5))
            self._add("teams", organization.id, self._make("teams", organization, dice, id=own_id), own_id)
            for member in organization.members[number % 2 :: 2]:
                content = self._make("team_members", organization, dice, member=member, is_first=member.index == 0)
                self._add("team_members", own_id, content, *self._linked("team_members", own_id, member.user_id))
            for project in organization.projects[number % 2 :: 2]:
                content = self._make("team_projects", organization, dice, project=project)
                self._add("team_projects", own_id, content, *self._linked("team_projects", own_id, project.id))

    def _linked(self, stream: str, owner: int, own_id: int) -> tuple[int, str]:
        """Place and name of a row that has no id: it links what it belongs to with something else."""
        return self._numbers[stream].take(), f"{owner}:{own_id}"

    def _integrations(self, organization: Organization) -> None:
        for number in range(min(self.scenario.small, 2)):
            dice = self._dice("integrations", organization.id, number)
            own_id = self._numbers["integrations"].take(dice.below(3))
            known = {"integration": self._make("integrations", organization, dice, id=own_id)}
            self._add("integrations", organization.id, known["integration"], own_id)
            stream = "integration_project_links"
            for project in organization.projects:
                content = self._make(stream, organization, dice, project=project, **known)
                record = self._add(stream, own_id, content, *self._linked(stream, own_id, project.id))
                self.rows["project_integration_links"].setdefault(project.id, []).append(record)
            stream = "integration_user_links"
            for member in organization.members:
                content = self._make(stream, organization, dice, member=member, **known)
                self._add(stream, own_id, content, *self._linked(stream, own_id, member.user_id))
            self.rows["integration_tasks"][own_id] = list(self.rows["tasks"].get(organization.id, ())[number::2])

    def _small(self, stream: str, organization: Organization) -> None:
        for number in range(self.scenario.small):
            dice = self._dice(stream, organization.id, number)
            began, start = organization.midnight(organization.began), int(self.clock.start)
            # Seven in eight are of the past; the others wait for the clock to be moved on.
            past = dice.below(8)
            created = began + dice.below(max(start - began, 1)) if past else start + dice.below(_FUTURE_DAYS * DAY)
            updated = min(created + dice.below(20 * DAY), max(created, start))
            own_id = self._numbers[stream].take(dice.below(9))
            hidden = self._hidden(dice) and number > 0
            known = {"number": number, "nth": number + 1, "is_even": number % 2 == 0, "hidden": hidden}
            content = {"id": own_id, "created_at": instant(created), "updated_at": instant(updated)}
            content |= self._make(stream, organization, dice, **known)
            self._add(stream, organization.id, content, own_id).since = created

    def _clients_of_projects(self, organization: Organization) -> None:
        """Have projects name the client that names them."""
        projects = {record.key: record for record in self.rows["projects"].get(organization.id, ())}
        for client in self.rows["clients"].get(organization.id, ()):
            for project in client.content["project_ids"] if client.since <= self.clock.start else ():
                projects[project].content.setdefault("client_id", client.content["id"])

    def _balances(self, organization: Organization) -> None:
        # Policies that begin to exist later have no balances here.
        policies = self.of("time_off_policies", organization.id)
        for member in organization.members:
            for policy in policies:
                dice = self._dice("balance", member.user_id, policy.id)
                content = self._make("time_off_balances", organization, dice, member=member, policy=policy.content)
                named = f"{organization.id}:{member.user_id}:{policy.id}"
                self._add("time_off_balances", organization.id, content, self._numbers["balances"].take(), named)
