"""One run from its beginning to its end: opens what it needs, finishes what came, and closes everything."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from singer_http.http.clock import Stopped
from singer_http.http.errors import ApiError, IncompleteError
from singer_sdk.contrib.msgspec import encoder

from target_harkster.delivery.adoption import Adoption
from target_harkster.delivery.channels import Channels
from target_harkster.delivery.courier import Courier
from target_harkster.delivery.decision import Decider
from target_harkster.delivery.exactly_once import Delivery
from target_harkster.delivery.first_run_guard import FirstRunGuard, TooManyNewPostsError
from target_harkster.delivery.mirror import Mirror
from target_harkster.delivery.moves import Moves
from target_harkster.delivery.parcel_queue import ParcelQueue
from target_harkster.delivery.post_quota import PostQuota
from target_harkster.delivery.previous_post import PreviousPosts
from target_harkster.delivery.reject_retries import RejectRetries
from target_harkster.layout.expressions import Expressions
from target_harkster.layout.layout_maker import make_layout
from target_harkster.layout.lookup_filter import Lookup
from target_harkster.ledger.database import LedgerError
from target_harkster.ledger.history import RunResult
from target_harkster.ledger.redaction import Redaction
from target_harkster.ledger.reject_file import RejectFile
from target_harkster.ledger.rejects import Rejects, TooManyRejectsError, row_of
from target_harkster.ledger.store import Ledger
from target_harkster.messages import BAD_INPUT
from target_harkster.report.plan import Plan, Planner, print_plan
from target_harkster.report.planning_api import PlanningApi
from target_harkster.report.preview import Preview
from target_harkster.report.summary import tell_quota, tell_rows, tell_unnamed
from target_harkster.vendor.client import HarksterApi
from target_harkster.vendor.posts import Content, Spelling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from singer_http.http.clock import Clock
    from singer_http.output import Stdout

    from target_harkster.delivery.parcel import Refused
    from target_harkster.layout.layout import Layout
    from target_harkster.ledger.rejects import Reject
    from target_harkster.ledger.store import Entry
    from target_harkster.vendor.client import Channel, Usage

logger = logging.getLogger(__name__)


class Rows(Protocol):
    """What a run needs of the sink of a stream."""

    @property
    def stream_channels(self) -> Sequence[tuple[str, str]]:
        """The stream with each of its channels."""
        ...

    def retry(self, reject: Reject, refused: Refused) -> None:
        """Try a row again that an earlier run rejected."""
        ...

    def digest(self) -> Mapping[tuple[str, str], tuple[str, bool]]:
        """Post the changed groups: by channel and marker their keys, and whether they are whole."""
        ...


class Run:
    """One run of the target. It sends nothing before it is made, and :meth:`close` leaves nothing open.

    Attributes:
        rows: By stream, how many came.
        prints_plan: Whether a dry run ends with its table.
        plan: What a dry run would have done, at its end.
    """

    def __init__(self, config: Mapping[str, Any], clock: Clock, stdout: Stdout) -> None:
        self.config = config
        self.clock = clock
        self._stdout = stdout
        self._is_dry: bool = config["dry_run"]
        self._is_open = True
        self._states_seen = 0
        self._is_covered = False
        self.rows: Counter[str] = Counter()
        self.prints_plan = True
        self.plan: Plan | None = None
        self._reject_file = None if self._is_dry else RejectFile(config["reject_path"])
        path = config.get("preview_path")
        self._preview = Preview(path, is_dry=self._is_dry) if path else None
        with contextlib.ExitStack() as opened:
            self.ledger = Ledger(config["ledger_url"], clock, is_dry=self._is_dry)
            opened.callback(self.ledger.close)
            self.rejects = Rejects(self.ledger.database, clock, Redaction.of(config))
            lookups = {stream for stream, settings in config["streams"].items() if settings.get("mode") == "lookup"}
            self.lookup = Lookup(self.ledger.lookups, lookups)
            self._expressions = Expressions(config["locale"], self.lookup)
            self.api = api = (PlanningApi if self._is_dry else HarksterApi)(config, clock)
            opened.callback(self.api.close)
            api.before_write = self.ledger.database.check  # who has lost its locks sends nothing
            self._planner = Planner(api, self.ledger) if isinstance(api, PlanningApi) else None
            spelling = Spelling(config["heading_type"], config["numbers_as"] == "number", config["marker"])
            self.previous = PreviousPosts(self.api, self.ledger)
            self.post_quota = quota = PostQuota(
                self.api, config["quota_reserve"], config.get("max_posts_per_run"), config["on_quota"]
            )
            delivery = Delivery(self.api, self.ledger, quota, clock, config["mirror_recall"], spelling)
            self.courier = courier = Courier(delivery, self.ledger, self.rejects, self._delivered)
            self.adoption = adoption = Adoption(api, self.ledger, delivery, self.rejects)
            self.channels = Channels(
                api, self.ledger, quota, delivery, self.rejects, courier, adoption, config["first_run"]
            )
            channels = self.channels.opened
            most, share = config["mirror_max_deletes"], float(config["mirror_max_share"])
            self.mirror = Mirror(courier, self.ledger, self.rejects, channels, most, share)
            self.guard = guard = FirstRunGuard(config["max_new_posts"], channels, self.ledger, is_dry=self._is_dry)
            self.reject_retries = RejectRetries(self.rejects, channels)
            self.moves = Moves(courier, self.ledger, channels, config["on_move"])
            self.decider = Decider(self.ledger, self.moves)
            self.queue = ParcelQueue(courier, self.ledger, channels, guard, clock, self.decider, self._acknowledge)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Close everything."""
        if self._is_open:
            self._is_open = False
            self._opened.close()

    # What comes

    def row_came(self, stream: str) -> None:
        """Count a row."""
        self.rows[stream] += 1
        self._is_covered = False

    def schema_came(self) -> None:
        """Deliver the rows of the SCHEMA before."""
        self._is_covered = False
        self.queue.flush()

    def state_came(self, value: Any) -> None:
        """Take a STATE, which covers everything before it."""
        self.mirror.covered()
        if self.mirror.is_due:
            self.queue.flush()
            self.mirror.judge()
        self.queue.add_state(value)
        self._states_seen += 1
        self._is_covered = True

    # The end

    def end(self, streams: Mapping[str, Rows], known: Mapping[str, Rows]) -> None:
        """End a run whose input has come to its end.

        Args:
            streams: By name, those of which a SCHEMA came.
            known: The same, and those that digests wait of.

        Raises:
            ApiError: The run is not complete.
        """
        self.finish(known)
        self._end_first_runs(streams)
        self.queue.close()
        if self._preview is not None:
            self._preview.write()
        self._summarise(streams)
        self.note_end("complete")

    def finish(self, streams: Mapping[str, Rows]) -> None:
        """Deliver what came, the rejects of earlier runs, and the digests of both."""
        self.queue.flush()
        self.mirror.judge(is_end=True)
        self.reject_retries.attempt({stream: rows.retry for stream, rows in streams.items()})
        self.queue.flush()
        digests = [(stream, rows.digest()) for stream, rows in streams.items()]
        self.queue.flush(is_end=True)
        for stream, posted in digests:
            for (channel, marker), (key, is_whole) in posted.items():
                if is_whole:
                    self.ledger.digests.shown(channel, marker)
                self.rejects.strike((channel, stream, row_of(key), "post"))
        self.reject_retries.finish()
        self.channels.clear_up()
        self.rejects.sync()
        self._export()
        tell_unnamed(streams, self.channels, self.moves, self.ledger)

    def leave(self, error: BaseException) -> None:
        """End a run that cannot go on. The last STATE says how far it got."""
        if self._is_open:
            if not isinstance(error, Stopped):
                self.clock.stop()
            try:
                self.queue.close()
                self.rejects.sync()
                self._export()
                if not isinstance(error, (Stopped, LedgerError)):
                    self._show_plan()
                self.note_end("stopped" if isinstance(error, Stopped) else _ending(error))
            finally:
                self.close()

    def _export(self) -> None:
        """Write the reject file, as the ledger has it now."""
        if self._reject_file is not None:
            ours = self.channels.streams
            rejects = (reject for reject in self.rejects.stored() if reject.stream in ours.get(reject.channel, ()))
            self._reject_file.write(rejects, ours)

    def _end_first_runs(self, streams: Mapping[str, Rows]) -> None:
        """Note which first runs are over.

        A tap that was cut off ends its messages like one that has come to its end, but with no STATE behind them.
        """
        if not self._states_seen:
            self.channels.end_first_runs(place for place in self.channels.begun if place[0] in streams)
        elif self._is_covered:
            self.channels.end_first_runs(place for rows in streams.values() for place in rows.stream_channels)

    def _summarise(self, streams: Mapping[str, Rows]) -> None:
        rows = self.rows.total()
        if not self._is_dry:
            tell_rows(self.tally, self.rows)
            tell_quota(self.channels, self.post_quota, self.ledger)
        self._show_plan()
        for stream in self.config["streams"]:
            if stream not in streams:
                logger.warning("streams.%s: the tap sent no such stream.", stream)
        rejected = self.rejects.count
        if rejected:
            where = "" if self._is_dry else f"; they are in the ledger, and in {self.config['reject_path']}"
            logger.warning("Rejected rows: %d%s.", rejected, where)
        if rows and rejected > float(self.config["max_reject_share"]) * rows:
            raise TooManyRejectsError(
                f"{rejected} of {rows} rows were rejected, a larger share than max_reject_share allows. The"
                " warnings above say why."
            )
        if self.guard.failures:
            raise TooManyNewPostsError(" ".join(self.guard.failures))
        reasons = [*self.courier.closed.values(), *self.courier.aside, *self.mirror.failures]
        if reasons:
            raise IncompleteError(f"The run is not complete. {' '.join(reasons)}")

    def _show_plan(self) -> None:
        if self._planner is None or self.plan is not None:
            return
        self.plan = self._planner.plan(self.tally, self.channels.opened, self.quotas())
        if self.prints_plan and self.plan.streams:
            # Not on stdout, which is for STATEs.
            print_plan(self.plan, Console(stderr=True))

    def note_end(self, ended: str) -> None:
        """Write down what the run did, and how it ended."""
        quotas = (f"{name}: {usage.usage} of {usage.quota}" for name, usage in self.quotas().items())
        result = RunResult(
            rows=self.rows.total(),
            posted=self.post_quota.published,
            updated=self.courier.delivery.updated,
            deleted=self.courier.delivery.deleted,
            rejected=self.rejects.count,
            quota="; ".join(quotas),
            ended=ended,
        )
        self.ledger.history.end(result)

    # What it tells

    @property
    def tally(self) -> dict[str, Counter[str]]:
        """By stream, what became of its rows."""
        tally = {stream: own.copy() for stream, own in self.decider.tally.items()}
        further = {
            "rejected": self.rejects.rejected,
            "superseded": self.rejects.superseded,
            "delete": self.mirror.deleted,
            "moved": self.moves.deleted,
        }
        for name, counted in further.items():
            for stream, number in counted.items():
                tally.setdefault(stream, Counter())[name] += number
        return tally

    def quotas(self) -> dict[str, Usage]:
        """By name of the channel, what is left of its quota."""
        return {
            channel.path: self.api.usages[channel.account_id]
            for channel in self.channels.opened.values()
            if channel.account_id in self.api.usages
        }

    # What sinks ask for

    def layout(self, stream: str, schema: Mapping[str, Any], key_properties: Sequence[str]) -> Layout:
        """The layout of a stream."""

        def find_channel() -> Channel:
            return next(iter(self.channels.route(stream, self.config).channels.values()))

        return make_layout(stream, self.config, schema, key_properties, find_channel, self.api, self._expressions)

    def reject(self, reject: Reject) -> None:
        """Reject a row.

        Raises:
            TooManyRejectsError: It is one too many.
        """
        self.rejects.add(reject)
        where = f"{reject.stream}, {reject.field}" if reject.field else reject.stream
        logger.warning("%s: a row was rejected: %s %s.", where, reject.field or "it", reject.reason)
        if self.rejects.count > self.config["max_rejects"]:
            self.rejects.sync()
            raise TooManyRejectsError(
                f"More than {self.config['max_rejects']} rows were rejected (max_rejects): read the reasons above."
            )

    def _delivered(self, before: Entry, entry: Entry) -> None:
        if self._planner is not None:
            self._planner.delivered(before, entry)
        if self._preview is not None and before.content is not None:
            name = self.channels.opened[entry.channel].path
            self._preview.add(entry.stream, name, entry.phase.value, Content.decoded(before.content))

    def _acknowledge(self, state: Any) -> None:
        self.rejects.sync()
        if not self._is_dry:
            self._stdout.write(encoder.encode(state) + b"\n")


def _ending(error: BaseException) -> str:
    # The text of any other error may repeat values of a row.
    return str(error) if isinstance(error, (ApiError, *BAD_INPUT)) else type(error).__name__
