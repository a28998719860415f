"""The lists that do not grow day by day: made whole when somebody asks for the first time."""

from collections import defaultdict
from dataclasses import dataclass, field

from api_sandbox.hubstaff.account import Account, Member, Organization, Project
from api_sandbox.hubstaff.clock import DAY, HOUR, Clock, instant
from api_sandbox.hubstaff.paperwork import PAPERWORK, Maker, budget
from api_sandbox.hubstaff.records import Fields, Numbers, Record
from api_sandbox.hubstaff.scenario import HubstaffScenario
from api_sandbox.hustle.dice import Dice
from api_sandbox.hustle.texts import TEXTS

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
            for stream, make in PAPERWORK.items():
                self._small(stream, organization, make)
            self._clients_of_projects(organization)
            self._balances(organization)
        self.rows["organizations"] = {0: [self._organization(one) for one in self.account.organizations]}

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

    def dice(self, *key: object) -> Dice:
        """Chance for one thing."""
        return Dice("/".join(map(str, (self.seed, *key))))

    def stamps(self, dice: Dice, organization: Organization) -> tuple[Fields, float]:
        """When a record was created and updated, and from when on it exists."""
        began = organization.midnight(organization.began)
        # Seven in eight are of the past; the others wait for the clock to be moved on.
        span = int(self.clock.start) - began
        created = began + dice.below(max(span, 1)) if dice.below(8) else began + span + dice.below(_FUTURE_DAYS * DAY)
        updated = min(created + dice.below(20 * DAY), max(created, int(self.clock.start)))
        return {"created_at": instant(created), "updated_at": instant(updated)}, created

    def add(self, stream: str, owner: int, record: Record) -> None:
        """Put a record at the end of a list."""
        self.rows[stream].setdefault(owner, []).append(record)

    def _past(self, dice: Dice, organization: Organization) -> Fields:
        """When a record was created and updated that exists from the start."""
        began = organization.midnight(organization.began) - DAY
        created = began + dice.below(DAY // 2)
        return {
            "created_at": instant(created),
            "updated_at": instant(created + dice.below(max(int(self.clock.start) - created, 1))),
        }

    def _organization(self, one: Organization) -> Record:
        dice = self.dice("organizations", one.id)
        content = {
            "id": one.id,
            "name": TEXTS.title(dice),
            "status": "active",
            **self._past(dice, one),
            "member_profile_fields": [
                {
                    "key": "field_1",
                    "type": "text",
                    "title": "T-shirt 👕",
                    "created_on": one.began.isoformat(),
                    "created_by_id": self.account.me,
                }
            ],
            "metadata": {},
            "invite_url": f"https://app.example.org/invite/{one.id}",
        }
        return Record(one.id, str(one.id), content)

    def _people(self, organization: Organization) -> None:
        for member in organization.members:
            self._user(member, organization)
            content = self._member(member, organization)
            number = self._numbers["members"].take(member.index % 3)
            self.add("members", organization.id, Record(number, f"{organization.id}:{member.user_id}", content))
        for project in organization.projects:
            for member in organization.members:
                if project in member.projects:
                    self._project_member(project, member, organization)

    def _user(self, member: Member, organization: Organization) -> None:
        dice = self.dice("users", member.user_id)
        given, family = dice.pick(TEXTS.given), dice.pick(TEXTS.family)
        content = {
            "id": member.user_id,
            "name": f"{given} {family}",
            "first_name": given,
            "last_name": family,
            "email": f"user{member.user_id}@example.org",
            "time_zone": dice.pick(TEXTS.places).timezone,
            "ip_address": f"192.0.2.{dice.below(255)}",
            "status": "active",
            **self._past(dice, organization),
        }
        self.users.setdefault(member.user_id, Record(member.user_id, str(member.user_id), content))

    def _membership(self, dice: Dice, member: Member, organization: Organization) -> Fields:
        """What memberships of organizations and of projects have in common."""
        made = self._past(dice, organization)
        if member.removed is not None:
            made["removed_at"] = made["updated_at"] = instant(organization.midnight(member.removed))
        seen = member.removed is not None or dice.chance(80)
        return {
            "user_id": member.user_id,
            "pay_rate": f"{dice.below(9000) / 100:.2f}",
            "bill_rate": f"{dice.below(20000) / 100:.2f}",
            "currency": organization.currency,
            "membership_role": member.role,
            "membership_status": "active" if member.removed is None else "removed",
            **made,
            "last_client_activity": made["updated_at"] if seen else None,
        }

    def _member(self, member: Member, organization: Organization) -> Fields:
        dice = self.dice("members", organization.id, member.user_id)
        content = self._membership(dice, member, organization)
        content |= {
            "trackable": self._trackable(dice),
            "effective_role": {"owner": "organization_owner", "manager": "organization_manager"}.get(
                member.role, dice.pick(("project_user", "project_viewer", "by_project", "unassigned"))
            ),
            "pay_period": dice.pick(("weekly", "twice_per_month", "none")),
            "metadata": {},
            "view_only": False,
            "profile": {"job_title": dice.pick(TEXTS.words), "custom_fields": {"field_1": "XL"}},
            "limits": {"weekly_limit": 40.0, "daily_limit": 8.0, "dow_limit": ["mon", "tue"]},
            "project_members": [self._nested(project, member, organization) for project in member.projects],
        }
        return content

    def _nested(self, project: Project, member: Member, organization: Organization) -> Fields:
        """A membership of a project, within that of the organization: it does not say whose it is."""
        made = self._membership(self.dice("nested", project.id, member.user_id), member, organization)
        del made["user_id"]
        return {**made, "project_id": project.id, "project_type": "project", "project_status": project.status}

    def _trackable(self, dice: Dice) -> bool | str:
        drawn = dice.pick(("true", "false", "viewer"))
        as_text = self.scenario.trackable == "string" or (self.scenario.trackable == "mixed" and dice.chance(50))
        return drawn if as_text or drawn == "viewer" else drawn == "true"

    def _project_member(self, project: Project, member: Member, organization: Organization) -> None:
        dice = self.dice("nested", project.id, member.user_id)
        content = self._membership(dice, member, organization)
        content["profile"] = {"job_title": dice.pick(TEXTS.words)}
        number = self._numbers["project_members"].take(member.index % 2)
        self.add("project_members", project.id, Record(number, f"{project.id}:{member.user_id}", content))

    def _work(self, organization: Organization) -> None:
        for project in organization.projects:
            self.add("projects", organization.id, self._project(project, organization))
        tasks = [(task.id, project) for project in organization.projects for task in project.tasks]
        todos = {task.id: task.global_todo_id for project in organization.projects for task in project.tasks}
        for own_id, project in sorted(tasks, key=lambda pair: pair[0]):
            self.add("tasks", organization.id, self._task(own_id, project, todos[own_id], organization))
        for own_id in organization.todos:
            dice = self.dice("global_todos", own_id)
            content = {
                "id": own_id,
                "name": TEXTS.title(dice),
                "status": dice.pick(("active", "archived")),
                "add_new_projects_enabled": dice.chance(50),
                **self._past(dice, organization),
                "project_ids": [project.id for project in organization.projects[:2]],
            }
            self.add("global_todos", organization.id, Record(own_id, str(own_id), content))

    def _project(self, project: Project, organization: Organization) -> Record:
        dice = self.dice("projects", project.id)
        content: Fields = {
            "id": project.id,
            "name": TEXTS.title(dice),
            **self._past(dice, organization),
            "status": project.status,
            "type": dice.pick(("project", "project", "work_order")),
            "billable": project.billable,
            "metadata": {},
        }
        if dice.chance(50):
            content["description"] = dice.pick(TEXTS.notes)
        if dice.chance(30):
            content["budget"] = budget(dice, organization)
        if dice.chance(40):
            content |= {"pay_rate": 12.5, "bill_rate": 80}
        return Record(project.id, str(project.id), content)

    def _clients_of_projects(self, organization: Organization) -> None:
        """Have projects name the client that names them."""
        projects = {record.key: record for record in self.rows["projects"].get(organization.id, ())}
        for client in self.rows["clients"].get(organization.id, ()):
            for project in client.content["project_ids"] if client.since <= self.clock.start else ():
                projects[project].content.setdefault("client_id", client.content["id"])

    def _task(self, own_id: int, project: Project, todo: int | None, organization: Organization) -> Record:
        dice = self.dice("tasks", own_id)
        status = dice.pick(("completed", "deleted", "archived")) if self._hidden(dice) else "active"
        content: Fields = {
            "id": own_id,
            "status": status,
            "project_id": project.id,
            "project_type": "project",
            "summary": TEXTS.title(dice),
            "lock_version": dice.below(9),
            "assignee_ids": [member.user_id for member in organization.members if project in member.projects][:2],
            "metadata": {},
            **self._past(dice, organization),
        }
        if status == "completed":
            content["completed_at"] = content["updated_at"]
        if dice.chance(40):
            content["details"] = dice.pick(TEXTS.notes)
        if dice.chance(30):
            content["remote_id"] = f"JIRA-{own_id}"
        if todo is not None:
            content["global_todo_id"] = todo
        return Record(own_id, str(own_id), content)

    def _hidden(self, dice: Dice) -> bool:
        return dice.below(1000) < self.scenario.inactive_share * 1000

    def _teams(self, organization: Organization) -> None:
        for number in range(self.scenario.small):
            dice = self.dice("teams", organization.id, number)
            own_id = self._numbers["teams"].take(dice.below(5))
            content = {
                "id": own_id,
                "name": TEXTS.title(dice),
                **self._past(dice, organization),
                "metadata": {},
            }
            self.add("teams", organization.id, Record(own_id, str(own_id), content))
            for member in organization.members[number % 2 :: 2]:
                row = {"user_id": member.user_id, "role": "user", "lead": member.index == 0}
                record = Record(
                    self._numbers["team_members"].take(),
                    f"{own_id}:{member.user_id}",
                    {**row, **self._past(dice, organization)},
                )
                self.add("team_members", own_id, record)
            for project in organization.projects[number % 2 :: 2]:
                record = Record(
                    self._numbers["team_projects"].take(),
                    f"{own_id}:{project.id}",
                    {"project_id": project.id, **self._past(dice, organization)},
                )
                self.add("team_projects", own_id, record)

    def _integrations(self, organization: Organization) -> None:
        for number in range(min(self.scenario.small, 2)):
            dice = self.dice("integrations", organization.id, number)
            own_id = self._numbers["integrations"].take(dice.below(3))
            content = {
                "id": own_id,
                "name": TEXTS.title(dice),
                "organization_id": organization.id,
                "type": dice.pick(("jira", "asana", "trello")),
                "last_sync_at": instant(self.clock.start - HOUR),
                **self._past(dice, organization),
                "status": "active",
            }
            self.add("integrations", organization.id, Record(own_id, str(own_id), content))
            self._links(content, organization, dice)
            for task in self.rows["tasks"].get(organization.id, ())[number::2]:
                self.add("integration_tasks", own_id, task)

    def _links(self, integration: Fields, organization: Organization, dice: Dice) -> None:
        own_id = integration["id"]
        of_integration = {
            "integration_id": own_id,
            "integration_type": integration["type"],
            "integration_name": integration["name"],
            "integration_status": integration["status"],
        }
        for project in organization.projects:
            row = {"project_id": project.id, "remote_id": f"P{project.id}", "remote_alternate_id": f"p-{project.id}"}
            row |= {**self._past(dice, organization), "status": "active", **of_integration}
            number = self._numbers["integration_project_links"].take()
            record = Record(number, f"{own_id}:{project.id}", row)
            self.add("integration_project_links", own_id, record)
            self.add("project_integration_links", project.id, record)
        for member in organization.members:
            row = {"user_id": member.user_id, "remote_id": f"U{member.user_id}", "connected": dice.chance(50)}
            row |= {**self._past(dice, organization), "status": "active", **of_integration}
            number = self._numbers["integration_user_links"].take()
            self.add("integration_user_links", own_id, Record(number, f"{own_id}:{member.user_id}", row))

    def _small(self, stream: str, organization: Organization, make: Maker) -> None:
        for number in range(self.scenario.small):
            dice = self.dice(stream, organization.id, number)
            stamps, since = self.stamps(dice, organization)
            own_id = self._numbers[stream].take(dice.below(9))
            hidden = self._hidden(dice) and number > 0
            content = {"id": own_id, **stamps, **make(organization, dice, number, hidden)}
            self.add(stream, organization.id, Record(own_id, str(own_id), content, since))

    def _balances(self, organization: Organization) -> None:
        # Those that begin to exist later have no balances here.
        policies = self.of("time_off_policies", organization.id)
        for member in organization.members:
            for policy in policies:
                row = {
                    "user_id": member.user_id,
                    "time_off_policy_id": policy.content["id"],
                    "policy_name": policy.content["name"],
                    "amount": self.dice("balance", member.user_id, policy.id).below(40) * HOUR,
                }
                named = f"{organization.id}:{member.user_id}:{policy.id}"
                self.add("time_off_balances", organization.id, Record(self._numbers["balances"].take(), named, row))
