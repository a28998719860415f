"""A job of a life: its settings, and what its channels must show by the rows that were sent to it.

What may differ from the rows, by the documentation:

- A row that makes no post under the layout of its run leaves the post that it has, and is tried by later runs.
- In mode append the first version of a row that makes a post stays.
- What cannot be published yet waits: it is there after a run with enough quota and nothing wrong. If its row is deleted
  at its source meanwhile, or does not meet the condition any more, it is withdrawn, and its row is as good as new; what
  people have seen stays, but in mode mirror.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tests.harkster.running import schema

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from api_sandbox import PostTruth

    from tests.harkster.running import Message, Target

Mode = Literal["append", "upsert", "mirror", "digest"]
Layout = Literal["text", "number"]
KeyType = Literal["integer", "string"]
Fate = Literal["published", "draft", "baseline"]
"""What becomes of a row, or a group."""
Place = tuple[int, int]
"""Which of the channels of a job, and the key of a row or of a group."""

NAMES = "{{ rows | sort(attribute='id') | map(attribute='name') | join(',') }}"
UNWANTED = "y"
"""The name of rows that do not meet the condition, where there is one."""
CLOSING = "3"
"""The name of a row that closes its group, where groups wait for that."""


class Row(NamedTuple):
    """A row, as it is sent."""

    key: int
    name: str
    to: int = 0
    is_gone: bool = False


@dataclass(frozen=True)
class Plan:
    """What the settings of a job say.

    Attributes:
        on_move: What becomes of posts whose rows go to another channel; None where there is one channel only.
        first_run: What becomes of the rows of the first run.
        when: Not all rows count.
        closed: Digests wait until they are closed.
        previous: Posts tell what they said before.
    """

    mode: Mode
    on_move: Literal["delete", "keep"] | None = None
    first_run: Literal["publish", "draft", "baseline"] = "publish"
    when: bool = False
    closed: bool = False
    previous: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether of several versions of a row in one run it is only the first or the last that counts."""
        return not (self.on_move or self.when or self.previous or self.mode == "mirror")


@dataclass
class Post:
    """What is to be known of a row, or a group: mostly, what its post says."""

    text: str
    state: Fate
    layout: Layout = "text"
    before: str | None = None


@dataclass
class Job:
    """A job, and what it must have posted.

    Attributes:
        targets: One for each of its channels; the first runs it.
        plan: Its settings.
        stream: Where its rows come from.
        layout: The type of its field; text that is no number makes no post as a number.
        key_types: Those that keys have had; the tap sends the last one, and its SCHEMA allows all.
        table: By key, the rows that it was sent, in their newest versions.
        posts: What they must have become.
        rejected: The newest versions that made no post, each with what is to become of it.
        is_first: No run has come to its end.
        version: Of its table.
        loose: The keys of rows that came since it was last sent as a whole.
        news: How often followers may be told: a row that was gone and came back is news again.
        said: All that posts have said, by key.
        seen: The keys whose posts followers saw after the last run.
        is_shaken: Not all of its runs came to their end, or published what they could.
    """

    targets: Sequence[Target]
    plan: Plan
    stream: str = "hours"
    layout: Layout = "text"
    key_types: list[KeyType] = field(default_factory=lambda: ["integer"])
    table: dict[int, Row] = field(default_factory=dict)
    posts: dict[Place, Post] = field(default_factory=dict)
    rejected: dict[Place, tuple[str, Fate]] = field(default_factory=dict)
    is_first: bool = True
    version: int = 0
    loose: set[int] = field(default_factory=set)
    news: Counter[Place] = field(default_factory=Counter)
    said: dict[int, set[str]] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    is_shaken: bool = False

    @property
    def target(self) -> Target:
        """What runs it."""
        return self.targets[0]

    @property
    def schema(self) -> Message:
        """The SCHEMA of its stream."""
        key = {"type": [*dict.fromkeys(self.key_types)]}
        properties = {"id": key, "name": {"type": ["string", "null"]}, "parity": key, "to": {"type": "string"}}
        return schema(properties, stream=self.stream)

    def posts_in(self, target: Target) -> list[PostTruth]:
        """Its posts in one of its channels, which it may share with a job of another stream."""
        return [post for post in target.posts() if post.name == self.stream]

    def record(self, row: Row) -> dict[str, Any]:
        """A row as it is sent."""
        of_key = str if self.key_types[-1] == "string" else int
        values = {"id": of_key(row.key), "name": row.name, "parity": of_key(row.key % 2)}
        gone = {"_sdc_deleted_at": "2026-01-01T00:00:00Z"} if row.is_gone else {}
        return {**values, "to": self.targets[row.to].channel, **gone}

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of its stream."""
        plan = self.plan
        name = NAMES if plan.mode == "digest" else "name"
        fields = [
            {"id": "id", "type": "counter", "data": "parity" if plan.mode == "digest" else "id"},
            {"id": "name", "type": "text" if plan.mode == "digest" else self.layout, "data": name},
        ]
        if plan.previous:
            fields.append({"id": "before", "type": "text", "data": "{{ previous.name }}"})
        settings: dict[str, Any] = {"group_by": ["parity"]} if plan.mode == "digest" else {"mode": plan.mode}
        if plan.on_move:
            settings["channel"] = {"column": "to", "allowed": [target.channel for target in self.targets]}
        if plan.when:
            settings["when"] = f"{{{{ name != '{UNWANTED}' }}}}"
        if plan.closed:
            settings["closed"] = f"{{{{ '{CLOSING}' in rows | map(attribute='name') | list }}}}"
        return {**settings, "fields": fields}

    @property
    def rows(self) -> list[Row]:
        """The rows that there are."""
        return [*self.table.values()]

    def takes(self, name: str) -> bool:
        """Whether a row makes a post."""
        return self.plan.mode == "digest" or self.layout == "text" or name.isdigit()

    def sends(self, rows: Sequence[Row], *, is_table: bool = True, has_version: bool = True) -> None:
        """Note what a run that ends well makes of rows, and of those that were rejected before."""
        came_now = {row.key for row in rows}
        if self.plan.mode == "mirror" and is_table:
            # Without versions nobody can tell rows of this table from those that came since the last one. Only rows
            # have them: an empty table has none.
            self._forget(self.table.keys() - came_now - (set() if has_version and rows else self.loose))
            self.loose.clear()
        elif self.plan.mode == "mirror":
            self.loose |= came_now
        came = set()
        for row in rows:
            came.add(row.key)
            self._take(row)
        self.tries_again(came)

    def tries_again(self, came: Collection[int] = ()) -> None:
        """Note what a run makes of what was rejected before, but for rows that came again, and of its groups."""
        for (at, key), (name, then) in list(self.rejected.items()):
            if key not in came and self.takes(name) and not self._is_left_out(Row(key, name, at)):
                del self.rejected[at, key]
                self._post(Row(key, name, at), then)
        if self.plan.mode == "digest":
            for place in sorted({(row.to, row.key % 2) for row in self.rows} | self.posts.keys()):
                self._group(place)

    def _take(self, row: Row) -> None:
        is_known = bool(self._of(row.key))
        self.table.pop(row.key, None)
        if not row.is_gone:
            self.table[row.key] = row
        if self.plan.mode == "digest":
            return
        for place in [one for one in self.rejected if one[1] == row.key]:
            del self.rejected[place]
        if row.is_gone:
            if self.plan.mode == "mirror":
                self._forget({row.key})
        elif self.plan.mode == "append" and is_known:
            pass
        elif self._is_left_out(row):
            if self.plan.mode == "mirror":
                self._forget({row.key}, is_there=True)
        elif self.takes(row.name):
            self._post(row, self._then)
        else:
            self.rejected[row.to, row.key] = (row.name, self._then)

    @property
    def _then(self) -> Fate:
        """What becomes of new rows."""
        return "published" if not self.is_first or self.plan.first_run == "publish" else self.plan.first_run

    def _of(self, key: int) -> dict[Place, Post]:
        return {place: post for place, post in self.posts.items() if place[1] == key}

    def _is_left_out(self, row: Row) -> bool:
        """Whether a row becomes no post, as it does not meet the condition."""
        if not self.plan.when or row.name != UNWANTED:
            return False
        return self.plan.mode == "mirror" or all(post.state == "baseline" for post in self._of(row.key).values())

    def withdraws(self, row: Row) -> bool:
        """Whether a post of a row is withdrawn if it still waits, as the row is not wanted any more."""
        return (
            self.plan.mode in {"append", "upsert"}
            and self.plan.when
            and (row.name == UNWANTED and not row.is_gone)
            and bool(self._of(row.key))
        )

    def _forget(self, keys: Iterable[int], *, is_there: bool = False) -> None:
        """Note that rows are gone, and their posts with them; or only their posts."""
        for key in list(keys):
            if not is_there:
                self.table.pop(key, None)
            for known in (self.posts, self.rejected):
                for place in [one for one in known if one[1] == key]:
                    del known[place]

    def _post(self, row: Row, then: Fate) -> None:
        """Note that a row becomes a post, or another content of its post."""
        place, others = (row.to, row.key), self._of(row.key)
        old = others.pop(place, None)
        if self.plan.mode == "append" and (old or others):
            return
        if self._is_left_out(row):
            return
        if old is not None and old.state == "baseline" and then != "baseline" and old.text == row.name:
            return  # it is as it was recorded
        if old is None or old.state == "baseline":
            is_draft = old is None and any(post.state == "draft" for post in others.values())
            state = "draft" if is_draft else then
            self.posts[place] = Post(row.name, state, self.layout)
            self.news[place] += state == "published"
        elif (old.text, old.layout) != (row.name, self.layout):
            before = old.text if old.state == "published" else None
            self.posts[place] = Post(row.name, old.state, self.layout, before)
        self.said.setdefault(row.key, set()).add(row.name)
        if self.plan.on_move == "delete":
            for other in others:
                del self.posts[other]

    def _group(self, place: Place) -> None:
        """Note what becomes of a group."""
        at, parity = place
        wanted = [row for row in self.rows if not (self.plan.when and row.name == UNWANTED)]
        rows = sorted(row for row in wanted if row.to == at and row.key % 2 == parity)
        text, old = ",".join(row.name for row in rows), self.posts.get(place)
        if old is not None and old.state in {"published", "draft"}:
            old.text = text
            self.said.setdefault(parity, set()).add(text)
            return
        is_closed = not self.plan.closed or any(row.name == CLOSING for row in rows)
        if not rows or not is_closed or (old is not None and old.text == text):
            return
        state = self._then if old is None or self._then == "baseline" else "published"
        self.posts[place] = Post(text, state)
        self.said.setdefault(parity, set()).add(text)
        self.news[place] += state == "published"

    def expected(self, at: int) -> dict[int, tuple[str, str]]:
        """What a channel must show: by key, the text and the status of a post."""
        shown = {"published", "draft"}
        return {
            key: (post.text, post.state)
            for (to, key), post in self.posts.items()
            if to == at and post.state in shown and not self._is_held_back(to, key)
        }

    def _is_held_back(self, at: int, key: int) -> bool:
        """Whether a post still waits because a newer version of its row is rejected."""
        is_rejected = any(one[1] == key for one in self.rejected)
        return is_rejected and key not in self.seen and self.posts[at, key].state == "published"
