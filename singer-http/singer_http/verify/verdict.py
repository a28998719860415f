"""Judges whether a table holds the keys that a run sent, and claims no more than the run read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from singer_http.report.document import Keys
from singer_http.report.keys import checksum
from singer_http.verify.table import EXTRACTED_AT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_http.report.document import PartitionReport, StreamReport
    from singer_http.verify.table import Holding, Partition, Table


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of a stream."""

    stream: str
    sentence: str
    agrees: bool = True  # nothing differs
    compared: int = 0  # rows that the run sent, and that are there


def judge(name: str, stream: StreamReport, table: Table) -> Verdict:
    """Compare a table with what a report says was sent to it."""
    if not table.columns:
        if stream.rows:
            there = f"there is no table {table.schema}.{table.name}"
            return Verdict(name, f"{_rows(stream.rows)} sent, and {there}.", agrees=False)
        return Verdict(name, f"nothing was sent.{_limits(stream)}")
    if missing := [column for column in stream.key if column not in table.columns]:
        return Verdict(name, f"the table has no column {', '.join(missing)}, which is its key.", agrees=False)
    held, sent = table.holding(stream), expected(stream)
    since = held.all.count - held.older
    if not stream.whole and sent.count <= since and sent != held.ours and not _tells_partitions(stream, table):
        there = f"{_rows(sent.count)} sent, {since:,} there since. Not compared: other runs may send the same rows."
        return Verdict(name, there)
    if faults := list(_faults(stream, table, sent, held)):
        return Verdict(name, f"{' '.join(faults)}{_places(stream, table)}", agrees=False)
    stay = f" {_rows(held.older)} of earlier runs stay, which it did not find again." if held.older else ""
    untold = f" An earlier run may have sent them: they do not tell by {EXTRACTED_AT}."
    told = untold if sent.count and held.undated == held.all.count else ""
    there = f"{_rows(sent.count)} sent, all there.{told}{stay if stream.whole else _limits(stream)}"
    return Verdict(name, there, compared=sent.count)


def expected(stream: StreamReport | PartitionReport) -> Keys:
    """The rows that a table must have of it; without a key, each row that was sent is one."""
    return stream.keys or Keys(stream.rows, "")


def _faults(stream: StreamReport, table: Table, sent: Keys, held: Holding) -> Iterator[str]:
    """What is wrong with the rows of a table."""
    if _is_exact(sent, held):
        yield from filter(None, [_of_earlier_runs(sent, held)])
        return
    if held.undated and not held.ours.count and sent.count:
        yield (
            f"{_rows(sent.count)} sent, {held.all.count:,} there, which do not tell by {EXTRACTED_AT} of which run they"
            " are: they were loaded from BATCH files, or without add_record_metadata."
        )
        return
    differs = _difference(sent, held.ours)
    if differs and not stream.whole and _of_its_partitions(stream, table) == sent:
        return  # other runs have read other partitions at the same time
    if differs and held.newer:
        yield f"{_rows(held.newer)} newer than this run: verify a run before the next one begins."
        return
    if differs:
        yield differs
    if stream.whole and held.undated:
        yield f"{_rows(held.undated)} too many, which no run has sent."
    if held.older and held.ours.count < sent.count:
        yield f"{_rows(held.older)} there as earlier runs sent them, which may be among these."
    elif stream.whole and stream.activated and held.older:
        yield f"{_rows(held.older)} too many, which the API no longer has: the loader did not heed ACTIVATE_VERSION."


def _is_exact(sent: Keys, held: Holding) -> bool:
    """Whether a table holds the keys that were sent, and no others, whoever sent them."""
    return sent in (held.all, Keys(held.all.count, ""))


def _of_earlier_runs(sent: Keys, held: Holding) -> str:
    """What is wrong with rows that are just what was sent: a loader that stores nothing leaves those of earlier runs.

    What a later run has sent again was there. Where no row tells when it was extracted, to be there must do.
    """
    if held.older:
        return f"{_rows(held.older)} of {sent.count:,} there only as an earlier run sent them."
    if held.undated and held.undated < held.all.count:
        return f"{_rows(held.undated)} of {sent.count:,} there without {EXTRACTED_AT}, so not as this run sent them."
    return ""


def _difference(sent: Keys, held: Keys) -> str:
    if held.count < sent.count:
        return f"{_rows(sent.count - held.count)} missing of {sent.count:,}."
    if held.count > sent.count:
        return f"{_rows(held.count - sent.count)} too many: {sent.count:,} sent, {held.count:,} there."
    return (
        ""
        if sent.checksum in {held.checksum, ""}
        else f"{_rows(sent.count)} there, but not those that were sent: keys differ."
    )


def _of_its_partitions(stream: StreamReport, table: Table) -> Keys | None:
    """What a table holds of the partitions that the run came to; None if it does not tell them apart."""
    held = _by_partition(stream, table)
    ours = [held[key].ours for part in stream.partitions if (key := _ids(part)) in held]
    return Keys(sum(one.count for one in ours), checksum(sum(int(one.checksum, 16) for one in ours))) if ours else None


def _places(stream: StreamReport, table: Table) -> str:
    """The partitions that differ, where the table has their ids."""
    held, differing = _by_partition(stream, table), []
    for part in stream.partitions if held else ():
        sent, found = expected(part), held.get(_ids(part))
        if found and _is_exact(sent, found):
            differs = _of_earlier_runs(sent, found)
        else:
            differs = _difference(sent, found.ours if found else Keys(0, sent.checksum and checksum(0)))
        if differs:
            differing.append(f"{', '.join(f'{name} {value}' for name, value in _ids(part))}: {differs}")
    return f" Of {'; of '.join(differing)}" if differing else ""


def _by_partition(stream: StreamReport, table: Table) -> dict[Partition, Holding]:
    columns = tuple(sorted(_partition_columns(stream)))
    return table.by_partition(stream, columns) if columns and _tells_partitions(stream, table) else {}


def _tells_partitions(stream: StreamReport, table: Table) -> bool:
    """Whether its rows name their partition; if not, runs that read other partitions may write them too."""
    return table.columns.keys() >= _partition_columns(stream)


def _partition_columns(stream: StreamReport) -> set[str]:
    return {name for part in stream.partitions for name in part.partition or {}}


def _ids(part: PartitionReport) -> Partition:
    return tuple((name, str(value)) for name, value in sorted((part.partition or {}).items()))


def _limits(stream: StreamReport) -> str:
    """What the comparison does not say, as the run did not read it, or did not say which rows are gone."""
    gone = f" {_rows(stream.deleted)} sent as deleted, not compared." if stream.deleted else ""
    return gone if stream.whole else f"{gone} Not compared as a whole ({stream.ended}): {stream.remark}."


def _rows(count: int) -> str:
    return f"{count:,} row{'s' if count != 1 else ''}"
