"""The tap: its settings, its streams, and what happens before the first of them is read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, cast

import click
from singer_http.checked_settings import json_object
from singer_http.http.errors import ConfigurationError
from singer_http.operator_errors import exit_on_operator_error
from singer_http.tap import ApiTap
from singer_sdk.plugin_base import _ConfigInput
from typing_extensions import override

from tap_hubstaff.account import Account
from tap_hubstaff.all_streams import STREAMS
from tap_hubstaff.client import open_session, parse_page, state_folder
from tap_hubstaff.forecast import Forecast
from tap_hubstaff.request_quota import RequestQuotaReachedError
from tap_hubstaff.settings import SETTINGS, setting_errors
from tap_hubstaff.shared_lists import SharedLists
from tap_hubstaff.streams.base import EVERY_OTHER, HubstaffStream, age_in_seconds
from tap_hubstaff.streams.changed_work import WorkUpdates
from tap_hubstaff.streams.window_streams import Activities, DailyActivities
from tap_hubstaff.times import HOUR
from tap_hubstaff.work_sessions.stream import TimeSessions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from singer_http.http.session import Session
    from singer_sdk import Stream

    from tap_hubstaff.streams.window_base import WindowStream


_DOUBT = 2
"""A run may take so many times what is forecast."""


class TapHubstaff(ApiTap):
    """Singer tap for the Hubstaff v2 API (time tracking)."""

    name = "tap-hubstaff"

    config_jsonschema: ClassVar[dict[str, Any]] = SETTINGS

    def __init__(self, **kwargs: Any) -> None:
        self.account = Account(self)
        self.shared_lists = SharedLists(self, self.account)
        self._in_order: dict[str, Stream] = {}
        super().__init__(**kwargs)

    @override
    def discover_streams(self) -> list[HubstaffStream]:
        return [stream(self, self.account) for stream in STREAMS]

    @property
    @override
    def streams(self) -> dict[str, Stream]:
        return self._in_order or super().streams

    @override
    def setting_errors(self, config: Mapping[str, Any]) -> Iterator[str]:
        yield from setting_errors(config)
        known = {EVERY_OTHER, *(str(vars(stream)["name"]) for stream in STREAMS)}
        if unknown := sorted(set(config.get("refresh") or ()) - known):
            yield f"refresh names {', '.join(unknown)}, which are no streams: check the names."

    @property
    @override
    def state_folder(self) -> Path:
        return state_folder(self.config)

    @override
    def open_session(self, config: Mapping[str, Any]) -> Session:
        return open_session(config, self.clock)

    # Before the first stream

    @override
    def prepare(self) -> None:
        self.session.log_in()
        self.shared_lists.look()
        _ = self.account.began  # only now has the API told the time
        if self.config["on_quota"] == "stop":
            self._in_order = self._oldest_first()
        self.connect()
        requests = self._requests()
        if self.config["on_quota"] == "stop" and _DOUBT * requests > self.session.budget.left:
            for stream in self.shared_lists.selected:
                stream.save_quota()
            requests = self._requests()
        self._tell_forecast(requests)

    def connect(self) -> None:
        """Show the pages of ``activities`` to what is made of them: changed work and work sessions."""
        activities, names = cast("WindowStream", self.streams[Activities.name]), list(self.streams)
        derived = [one for one in self.streams.values() if isinstance(one, (DailyActivities, TimeSessions))]
        work_updates = WorkUpdates(self.account, activities, derived)
        activities.observers = [work_updates.listen]
        for stream in derived:
            stream.work_updates = work_updates
            if isinstance(stream, TimeSessions) and names.index(Activities.name) < names.index(stream.name):
                stream.share_pages(activities)
                activities.observers.append(stream.build_along)

    def _oldest_first(self) -> dict[str, Stream]:
        """The order for a run that may end early: no stream is left out by every run.

        First comes the stream that the last run was cut off in, then those that were never read, then the oldest.
        """
        ranks = {
            stream.name: (not stream.is_cut_off, -age_in_seconds(stream.oldest()), place)
            for place, stream in enumerate(self.streams.values())
            if isinstance(stream, HubstaffStream)
        }
        own = ranks[Activities.name], ranks[TimeSessions.name]
        if all(age == -math.inf for _, age, _ in own):
            # In the first load, sessions are built of the pages of activities, so they follow right behind.
            ranks |= dict.fromkeys((Activities.name, TimeSessions.name), min(own))
        return dict(sorted(self.streams.items(), key=lambda item: ranks[item[0]]))

    def _requests(self) -> int:
        """About how many requests the run will take. Shared lists are read by now."""
        streams = [stream for stream in self.shared_lists.selected if stream.shares is None]
        return sum(stream.forecast(organization) for stream in streams for organization in stream.due)

    def _tell_forecast(self, requests: int) -> None:
        self.logger.info(
            "%d streams of %d organizations will take about %d requests; the budget has %d left of %d an hour.",
            len(self.shared_lists.selected),
            len(self.account.organizations),
            requests,
            self.session.budget.left,
            self.session.budget.requests,
        )

    def forecast(self) -> Forecast:
        """What the next run will take; asks for the organizations only.

        Raises:
            ApiError: The organizations cannot be read.
        """
        first = self.shared_lists.list() + 1
        self.connect()
        found = {each: self.shared_lists.forecast(each) for each in self.account.organizations}
        unknown = tuple(stream.name for stream in self.shared_lists.selected if stream.oldest() is None)
        return Forecast(first, found, unknown, self.session.budget.requests, self.session.budget.left)

    @override
    def give_up(self, cause: BaseException) -> None:
        if not isinstance(cause, RequestQuotaReachedError):
            super().give_up(cause)
        sent, most = self.session.requests.total(), self.session.budget.requests
        if not self.run.stream and 2 * sent > most:  # every run would end here
            raise ConfigurationError(
                f"on_quota is stop, and {sent} of the hour's {most} requests were used up before the first stream, for"
                f" the lists of {len(self.account.organizations)} organizations: nothing was read. Set on_quota to"
                " wait, or use shard."
            ) from None
        streams = self.shared_lists.selected
        done = next((place for place, one in enumerate(streams) if one.name == self.run.stream), 0)
        self.logger.warning(
            "%s The run ends here, %s, with %d of %d streams read; the next run goes on from the last STATE.",
            cause,
            f"in stream {self.run.stream}" if self.run.stream else "before the first stream",
            done,
            len(streams),
        )
        ages = ((stream.name, stream.oldest()) for stream in streams[done:])
        streams_with_age = (f"{name} ({'never' if age is None else f'{age / HOUR:.1f} h ago'})" for name, age in ages)
        self.logger.warning("Not read to the end by this run, and last read: %s.", ", ".join(streams_with_age))

    @override
    def check_connection(self) -> str:
        self.session.log_in()
        page = self.session.get("/organizations", {"page_limit": 1}, lambda body: parse_page(body, ("organizations",)))
        if page.is_empty:
            return "the credentials work, but show no organization."
        return "the credentials work, and organizations can be read."

    # Command line

    @classmethod
    @override
    def get_singer_command(cls) -> click.Command:
        command = super().get_singer_command()
        command.params.append(
            click.Option(
                ["--forecast"],
                is_flag=False,
                flag_value="text",
                type=click.Choice(["text", "json"]),
                help="Tell how many requests and hours the next run will take. This takes two requests at most.",
            )
        )
        return command

    @classmethod
    @override
    def invoke(cls, *, forecast: str | None = None, **kwargs: Any) -> None:
        if forecast is None:
            super().invoke(**kwargs)
            return
        with exit_on_operator_error(cls.logger):
            config = kwargs["config"] or _ConfigInput()
            state, catalog = (
                kwargs[name] and json_object(f"--{name}", kwargs[name].name, kwargs[name].read)
                for name in ("state", "catalog")
            )
            tap = cls(
                config=config.config,
                parse_env_config=config.parse_env,
                state=state,
                catalog=catalog,
            )
            try:
                tap.session.log_in()
                found = tap.forecast()
            finally:
                tap.session.close()
            click.echo(found.json() if forecast == "json" else found.text())
