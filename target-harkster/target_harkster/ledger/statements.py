"""The statements of the ledger that every run needs: made once, as that takes longer than to run one."""

from __future__ import annotations

import sqlalchemy as sa

from target_harkster.ledger.keys import OLD_TEXT
from target_harkster.ledger.model import (
    CHANNEL_NAMES,
    EARLIER,
    FIRST_POSTS,
    GONE,
    GROUPS,
    KEYS,
    LATE_UPDATES,
    LOST_DRAFTS,
    POSTS,
    REJECTS,
    STREAMS,
)
from target_harkster.ledger.phases import Phase

_CHANNEL: sa.BindParameter[str] = sa.bindparam("channel")
_STREAM: sa.BindParameter[str] = sa.bindparam("stream")
_IN_CHANNELS: sa.BindParameter[str] = sa.bindparam("channels", expanding=True)
_POSTS = sa.select(POSTS)
_WITH_MARKERS = POSTS.c.marker.in_(sa.bindparam("markers", expanding=True))

SOURCES = sa.select(POSTS.c.marker, POSTS.c.source).where(
    POSTS.c.channel == _CHANNEL, _WITH_MARKERS, POSTS.c.phase.not_in([Phase.DELETED.value, Phase.MOVING.value])
)
FIND = _POSTS.where(POSTS.c.channel == _CHANNEL, _WITH_MARKERS)
ENTRIES = _POSTS.where(POSTS.c.phase.in_(sa.bindparam("phases", expanding=True))).order_by(POSTS.c.seq)
ENTRIES_OF_CHANNEL = ENTRIES.where(POSTS.c.channel == _CHANNEL)
UNCOUNT = POSTS.delete().where(POSTS.c.channel == _CHANNEL, POSTS.c.phase == Phase.COUNTED.value)
CHANNELS = sa.select(POSTS.c.channel).where(POSTS.c.stream == _STREAM).distinct()
FIRST_RUN_OVER = sa.select(STREAMS.c.stream).where(STREAMS.c.stream == _STREAM, STREAMS.c.channel == _CHANNEL)
MADE_FIRST = sa.select(FIRST_POSTS.c.posts).where(FIRST_POSTS.c.stream == _STREAM, FIRST_POSTS.c.channel == _CHANNEL)
NAMED = sa.select(CHANNEL_NAMES.c.channel).where(CHANNEL_NAMES.c.name == sa.bindparam("name"))
LOST_DRAFTS_OF = sa.select(LOST_DRAFTS.c.marker, LOST_DRAFTS.c.since).where(LOST_DRAFTS.c.channel == _CHANNEL)
LATE_UPDATES_OF = sa.select(LATE_UPDATES).where(LATE_UPDATES.c.channel == _CHANNEL)
IS_LATE = sa.select(LATE_UPDATES.c.hash).where(
    LATE_UPDATES.c.channel == _CHANNEL, LATE_UPDATES.c.marker == sa.bindparam("marker")
)
FORGET_GONE = POSTS.update().where(POSTS.c.channel.in_(_IN_CHANNELS), POSTS.c.version == GONE).values(version=EARLIER)
FORGET_GONE_OF_STREAM = FORGET_GONE.where(POSTS.c.stream == sa.bindparam("of"))


def _old_markers(table: sa.Table, is_there: sa.ColumnElement[bool]) -> sa.Select[tuple[str]]:
    of_stream = sa.and_(table.c.channel.in_(_IN_CHANNELS), table.c.marker.startswith(sa.bindparam("prefix")))
    # Expressions are slow: they are for keys of several columns.
    are_numbers = sa.func.rtrim(table.c.key, '[]",.-0123456789') == ""
    has_number = sa.and_(table.c.key.contains(","), table.c.key.regexp_match(OLD_TEXT))
    is_old = sa.and_(table.c.key.contains('"'), sa.or_(are_numbers, has_number))
    markers = sa.select(sa.func.aggregate_strings(table.c.marker, " "))
    return markers.where(of_stream, is_there, sa.or_(table.c.key == "", is_old))


OLD_MARKERS = (_old_markers(POSTS, POSTS.c.phase != Phase.DELETED.value), _old_markers(GROUPS, sa.true()))


def _streams() -> sa.Select[tuple[str, int]]:
    begun = [phase.value for phase in (Phase.COUNTED, Phase.INTENT)]
    done = sa.or_(POSTS.c.post_id.is_not(None), POSTS.c.phase.not_in(begun))
    known = sa.case((done, 1), else_=0).label("known")
    parts = [sa.select(POSTS.c.stream, known).where(POSTS.c.channel == _CHANNEL, POSTS.c.stream != "")]
    parts += [
        sa.select(table.c.stream, sa.literal(0)).where(table.c.channel == _CHANNEL)
        for table in (STREAMS, GROUPS, REJECTS)
    ]
    whole = sa.union_all(*parts).subquery()
    return sa.select(whole.c.stream, sa.func.max(whole.c.known)).group_by(whole.c.stream)


KNOWN_STREAMS = _streams()


def _key_columns() -> sa.Select[tuple[str]]:
    posts = (POSTS.c.channel == _CHANNEL, POSTS.c.stream == _STREAM, POSTS.c.phase != Phase.COUNTED.value)
    groups = (GROUPS.c.channel == _CHANNEL, GROUPS.c.stream == _STREAM)
    # One without a key is found by its whole row.
    rejects = (REJECTS.c.channel == _CHANNEL, REJECTS.c.stream == _STREAM, REJECTS.c.key.is_not(None))
    has_some = sa.or_(*(sa.exists().where(*there) for there in (posts, groups, rejects)))
    return sa.select(KEYS.c.columns).where(KEYS.c.channel == _CHANNEL, KEYS.c.stream == _STREAM, has_some)


KEY_COLUMNS = _key_columns()
