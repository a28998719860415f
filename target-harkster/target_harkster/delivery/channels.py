"""Finds the channels of a run by id or name, and makes them ready for posts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from singer_http.http.errors import ConfigurationError, ForbiddenError, NotFoundError

from target_harkster.vendor.posts import prefix_of, stream_marker

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from target_harkster.delivery.adoption import Adoption
    from target_harkster.delivery.courier import Courier
    from target_harkster.delivery.exactly_once import Delivery
    from target_harkster.delivery.post_quota import PostQuota
    from target_harkster.ledger.rejects import Rejects
    from target_harkster.ledger.store import Ledger
    from target_harkster.vendor.client import Channel, HarksterApi

_CANDIDATES = 20
"""A message lists at most so many channels."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where the rows of a stream go.

    Attributes:
        column: The column that says so, if one does.
        channels: By what is in that column; without one, the only channel by the empty string.
    """

    column: str | None
    channels: Mapping[str, Channel]


def find_channel(wanted: str, channels: Sequence[Channel], setting: str) -> Channel:
    """The one channel of an id, or of its name after those of account and workspace.

    Names may hold slashes themselves, so they are compared as a whole and never taken apart.

    Args:
        wanted: Id or ``Account/Workspace/Channel``.
        channels: Those there are.
        setting: To name in a message.

    Raises:
        ConfigurationError: There is none, or more than one.
    """
    found = [channel for channel in channels if channel.id == wanted] or [
        channel for channel in channels if channel.path == wanted
    ]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(f"{channel.id} ({channel.path})" for channel in found)
        raise ConfigurationError(
            f"{setting} is ambiguous: {wanted} is the name of several channels; use an id: {listed}."
        )
    near = [channel for channel in channels if wanted.rsplit("/", 1)[-1].casefold() in channel.path.casefold()]
    some = (near or channels)[:_CANDIDATES]
    listed = ", ".join(f"{channel.path} ({channel.id})" for channel in some) or "none at all"
    more = f" and {len(channels) - len(some)} others: see harkster channels" if len(some) < len(channels) else ""
    raise ConfigurationError(f"{setting}: this token shows no channel {wanted}; it shows {listed}{more}.")


@dataclass(slots=True, eq=False)
class Channels:
    """The channels of a run.

    Attributes:
        first_run_setting: What becomes of new rows in a first run.
        opened: The channels that posts may be delivered to, by id.
        streams: By channel, those that came or are in the ledger. Others belong to other jobs.
    """

    api: HarksterApi
    ledger: Ledger
    post_quota: PostQuota
    delivery: Delivery
    rejects: Rejects
    courier: Courier
    adoption: Adoption
    first_run_setting: str
    opened: dict[str, Channel] = field(default_factory=dict, init=False)
    streams: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set), init=False)
    _listed: list[Channel] | None = field(default=None, init=False)
    _first: dict[tuple[str, str], bool] = field(default_factory=dict, init=False)
    _found: dict[str, set[str]] = field(default_factory=dict, init=False)

    def find(self, wanted: str, setting: str) -> Channel:
        """The channel of an id or name, see :func:`find_channel`."""
        if self._listed is None:
            self._listed = self.api.channels()
        return find_channel(wanted, self._listed, setting)

    def name(self, channel_id: str) -> str:
        """A channel for people, also if this token does not show it."""
        paths = [f"{channel.path} ({channel_id})" for channel in self._listed or () if channel.id == channel_id]
        return paths[0] if paths else channel_id

    @staticmethod
    def wanted(stream: str, config: Mapping[str, Any]) -> tuple[Any, str]:
        """The channel that the settings name for a stream, and the setting that names it.

        Raises:
            ConfigurationError: No setting names one.
        """
        for setting, wanted in (
            (f"streams.{stream}.channel", config["streams"].get(stream, {}).get("channel")),
            ("channel", config.get("channel")),
        ):
            if wanted is not None:
                return wanted, setting
        raise ConfigurationError(f"channel must be set, or streams.{stream}.channel: nothing says where {stream} goes.")

    def route(self, stream: str, config: Mapping[str, Any]) -> Route:
        """Find the channels of a stream.

        Raises:
            ConfigurationError: The settings name none, or one that cannot be used.
        """
        wanted, setting = self.wanted(stream, config)
        column, names = (None, [wanted]) if isinstance(wanted, str) else (wanted["column"], wanted["allowed"])
        found = {name: self.find(name, setting) for name in names}
        for name, channel in found.items():
            self._check_name(name, channel, setting)
        return Route(column, {"" if column is None else name: channel for name, channel in found.items()})

    def _check_name(self, name: str, channel: Channel, setting: str) -> None:
        """Check that a name stands for the channel that it stood for in earlier runs. An id needs no check."""
        known = self.ledger.channel_of(channel.path)
        if known not in {None, channel.id} and name != channel.id:
            raise ConfigurationError(
                f"{setting}: {name} was the channel {known} in earlier runs and is {channel.id} now, as if channels had"
                " been renamed. Name the one that you mean by its id; else all its rows would be posted again."
            )
        if known != channel.id:
            self.ledger.name_channel(channel.path, channel.id)

    def check_key_columns(self, stream: str, channels: Iterable[Channel], columns: str) -> None:
        """Check that a stream has the columns by which its posts and rejects are known, and found again.

        Args:
            stream: The stream.
            channels: Those that it goes to.
            columns: As in the settings.

        Raises:
            ConfigurationError: It has others.
        """
        for channel in channels:
            known = self.ledger.key_columns(stream, channel.id)
            if known not in {None, columns}:
                raise ConfigurationError(
                    f"streams.{stream}: its posts and rejected rows in {channel.path} were made with {known}, and are"
                    f" not found again by {columns}. Set what it was. To begin anew, name another channel, or give the"
                    " stream another name (stream_maps)."
                )
            if known is None:
                self.ledger.note_key_columns(stream, channel.id, columns)

    def open(self, stream: str, channels: Collection[Channel]) -> None:
        """Lock the channels of a stream for this run, and finish what earlier runs left in them."""
        for channel in channels:
            if channel.id not in self.opened:
                self.ledger.lock(channel.id)
                self.rejects.load(channel.id)
                self.opened[channel.id] = channel
        for channel in channels:
            self._compare(channel, stream)

    def _compare(self, channel: Channel, stream: str) -> None:
        """Compare the ledger with the posts of a channel, and finish what earlier runs left in it.

        Posts of streams that neither came nor are in the ledger belong to other jobs, and are left alone.

        Args:
            channel: The channel.
            stream: One that goes there.
        """
        if stream in self.streams[channel.id] or channel.id in self.courier.closed:
            return
        known = self.ledger.streams(channel.id)
        streams = {stream, *known} - self.streams[channel.id]
        self.streams[channel.id] |= streams
        try:
            self.post_quota.open(channel)
            self.adoption.check_age(channel, {one for one in streams if known.get(one)})
            # The ledger may have been lost. The posts in the channel show which. What waits came after it.
            lost = {one for one in streams if not known.get(one) and stream_marker(one) in self._prefixes(channel)}
            if lost:
                self.adoption.enter(channel, lost, self.delivery.ours(channel, lost), is_newer=False)
            self.courier.resume(channel, streams)
        except (ForbiddenError, NotFoundError) as error:
            self.courier.close(channel, error)

    def _prefixes(self, channel: Channel) -> set[str]:
        """The prefixes of the markers that a channel had when this run first looked at all of it."""
        if channel.id not in self._found:
            markers = (post.marker for post in self.api.posts(channel.id) if post.marker is not None)
            self._found[channel.id] = set(map(prefix_of, markers))
        return self._found[channel.id]

    def clear_up(self) -> None:
        """Mend what lost requests have done by now."""
        for channel in self.opened.values():
            if channel.id not in self.courier.closed:
                self.courier.clear_up(channel)

    def first_run(self, stream: str, channel: Channel) -> str:
        """What becomes of new rows: the setting in a first run, ``publish`` later."""
        return self.first_run_setting if self.is_first(stream, channel) else "publish"

    def is_first(self, stream: str, channel: Channel) -> bool:
        """Whether this is still the first run of a stream into a channel."""
        at = (stream, channel.id)
        if at not in self._first:
            self._first[at] = not self.ledger.is_first_run_over(stream, channel.id)
        return self._first[at]

    @property
    def begun(self) -> list[tuple[str, str]]:
        """The streams whose rows came, each with the id of a channel."""
        return list(self._first)

    def end_first_runs(self, streams: Iterable[tuple[str, str]]) -> None:
        """Note that the first run of these streams into these channels is over."""
        for stream, channel in streams:
            if channel not in self.courier.closed and not self.ledger.is_first_run_over(stream, channel):
                self.ledger.end_first_run(stream, channel)
