"""Who works where on what: the organizations of an account with their members, projects and tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from api_sandbox.dice import Dice
from api_sandbox.hubstaff.records import Numbers
from api_sandbox.hubstaff.scenario import HubstaffScenario

_CURRENCIES = ("USD", "EUR", "PLN")


@dataclass(frozen=True, slots=True)
class Task:
    """A task, as far as tracking needs it."""

    id: int
    global_todo_id: int | None


@dataclass(frozen=True, slots=True)
class Project:
    """A project, as far as tracking needs it."""

    id: int
    index: int
    status: str
    billable: bool
    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """A member, as far as tracking needs it.

    Attributes:
        lane: Place among the members of the account, so that no two ids meet.
        joined: The first day on which time was tracked.
        removed: The day from which on there is no tracking; None for members who are still there.
    """

    user_id: int
    index: int
    lane: int
    role: str
    joined: date
    removed: date | None
    projects: tuple[Project, ...]

    def works_on(self, day: date) -> bool:
        """Whether there is tracking on a day."""
        return self.joined <= day and (self.removed is None or day < self.removed)


@dataclass(frozen=True, slots=True)
class Organization:
    """An organization.

    Attributes:
        zone: Name of the time zone whose days `date` means.
        began: The first day with tracked time.
        today: The last day before anybody moves the clock.
    """

    id: int
    index: int
    zone: str
    began: date
    today: date
    members: tuple[Member, ...]
    projects: tuple[Project, ...]
    todos: tuple[int, ...]
    currency: str

    def midnight(self, day: date) -> int:
        """Seconds since 1970 at which a day of the organization begins."""
        return _midnight(self.zone, day)

    def date_at(self, seconds: float) -> date:
        """The day of the organization at a time."""
        return datetime.fromtimestamp(seconds, ZoneInfo(self.zone)).date()


@cache
def _midnight(zone: str, day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp())


@dataclass(frozen=True, slots=True)
class Account:
    """Everything that tracking needs.

    Attributes:
        lanes: How many memberships there are in the account.
        me: The user whose tokens these are.
    """

    organizations: tuple[Organization, ...]
    lanes: int
    me: int


def build_account(seed: int, scenario: HubstaffScenario, today: date) -> Account:
    """Make the account of a scenario, whose history ends today."""
    return _Builder(seed, scenario, today).build()


class _Builder:
    def __init__(self, seed: int, scenario: HubstaffScenario, today: date) -> None:
        self._seed = seed
        self._scenario = scenario
        self._today = today
        self._began = today - timedelta(days=scenario.history_days)
        self._half = today - timedelta(days=scenario.history_days // 2)
        self._users = Numbers(1_000_000)
        # Who is in every organization: the user of the tokens, and the shared ones.
        self._everywhere = [self._users.take(7 * place) for place in range(1 + scenario.shared_members)]
        self._organizations = Numbers(20_000)
        self._projects = Numbers(400_000)
        # Tasks of big accounts have passed 2^31, the int32 that the Swagger promises for some parameters.
        self._tasks = Numbers(2_147_483_000)
        self._todos = Numbers(70_000)
        self._lanes = 0

    def build(self) -> Account:
        organizations = tuple(self._organization(index) for index in range(self._scenario.organizations))
        return Account(organizations, max(self._lanes, 1), self._everywhere[0])

    def _organization(self, index: int) -> Organization:
        own_id = self._organizations.take(Dice(f"{self._seed}/organization/{index}").below(90))
        todos = tuple(self._todos.take() for _ in range(self._scenario.small))
        projects = self._make_projects(index, todos)
        return Organization(
            id=own_id,
            index=index,
            zone=self._scenario.zones[index % len(self._scenario.zones)],
            began=self._began,
            today=self._today,
            members=tuple(self._member(index, place, projects) for place in range(self._scenario.members)),
            projects=projects,
            todos=todos,
            currency=_CURRENCIES[index % len(_CURRENCIES)],
        )

    def _make_projects(self, organization: int, todos: Sequence[int]) -> tuple[Project, ...]:
        scenario = self._scenario
        # Taken first, so that no project's tasks lie together in the order of ids.
        tasks: list[list[Task]] = [[] for _ in range(scenario.projects)]
        for number in range(scenario.tasks):
            dice = Dice(f"{self._seed}/task/{organization}/{number}")
            todo = dice.pick(todos) if todos and dice.chance(20) else None
            tasks[number % scenario.projects].append(Task(self._tasks.take(dice.below(20)), todo))
        made = []
        for number in range(scenario.projects):
            dice = Dice(f"{self._seed}/project/{organization}/{number}")
            # The first is active, so that there is one to work on whatever the share.
            hidden = number > 0 and dice.below(1000) < scenario.inactive_share * 1000
            made.append(
                Project(
                    id=self._projects.take(dice.below(30)),
                    index=number,
                    status="archived" if hidden else "active",
                    billable=dice.chance(70),
                    tasks=tuple(tasks[number]),
                )
            )
        return tuple(made)

    def _member(self, organization: int, place: int, projects: Sequence[Project]) -> Member:
        dice = Dice(f"{self._seed}/member/{organization}/{place}")
        shared = place < len(self._everywhere)
        user_id = self._everywhere[place] if shared else self._users.take(dice.below(50))
        removed = place >= self._scenario.members - self._scenario.removed_members
        chosen = [project for project in projects if project.index % 3 == place % 3 or dice.chance(40)]
        lane, self._lanes = self._lanes, self._lanes + 1
        return Member(
            user_id=user_id,
            index=place,
            lane=lane,
            role=self._role(place),
            joined=self._began + timedelta(days=dice.below(4)),
            removed=self._half + timedelta(days=dice.below(3)) if removed else None,
            projects=tuple(chosen or projects[:1]),
        )

    def _role(self, place: int) -> str:
        """The user of the tokens has the scenario's role; an organization has an owner in any case."""
        if place == 0:
            return self._scenario.role
        if place == 1 and self._scenario.role != "owner":
            return "owner"
        return "manager" if place % 5 == 4 else "user"  # noqa: PLR2004 - one in five
