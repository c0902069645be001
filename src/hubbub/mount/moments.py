"""Which snapshot a moment means: a tid, or a time, and whether it can still be read."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from hubbub.kernel import (
    ConfigurationError,
    FeedGapError,
    NotAllowedError,
    PackedError,
    StoreError,
    Tid,
    tid_at,
    tid_from_text,
    tid_text,
    tid_time,
)
from hubbub.mount.base import Mount

When = int | float | str | datetime
"""A tid as int, or as the 16 hexadecimal digits that users see; or a time: a `datetime`, ISO 8601 text, or Unix time in
seconds as float. A time without a zone is local."""

_TID = re.compile(r"[0-9a-f]{16}")


def moment(when: When) -> tuple[Tid, bool]:
    """Return the tid that ``when`` means, and whether it was a time: then the newest one that it can mean.

    Raises:
        ConfigurationError: If it is neither a tid nor a time.
    """
    if isinstance(when, bool) or (isinstance(when, int) and when < 0):
        raise _neither(when)
    if isinstance(when, int):
        return Tid(when), False
    if isinstance(when, str):
        if _TID.fullmatch(when):
            return tid_from_text(when), False
        try:
            when = datetime.fromisoformat(when)
        except ValueError:
            raise _neither(when) from None
    try:
        seconds = when.timestamp() if isinstance(when, datetime) else float(when)
        return tid_at(seconds), True
    except (TypeError, ValueError, OverflowError, OSError):
        raise _neither(when) from None


def snapshot_at(mount: Mount, when: When) -> Tid:
    """Return the snapshot that shows the space as it was at ``when``: at a time, after the last transaction before it.

    Raises:
        ConfigurationError: If it is neither a tid nor a time.
        StoreError: If it is in the future.
        PackedError: If the space is packed up to a later tid.
    """
    tid, is_time = moment(when)
    newest = mount.begin()
    if tid > newest:
        newest = mount.sync()
    if tid > newest:
        if not is_time:
            raise StoreError(
                f"tid {tid_text(tid)} is in the future of this space, which ends at {tid_text(newest)}"
            )
        if tid_time(tid) > time.time():
            raise StoreError(f"{_shown(tid)} is in the future")
        tid = newest
    mount.snapshots.check(tid)
    try:
        mount.feed(max(tid, 1), 1)
    except FeedGapError:
        if newest:
            raise PackedError(
                f"the space is not kept as it was at {_shown(tid)} (tid {tid_text(tid)}): "
                "it is packed up to a later one"
            ) from None
    except NotAllowedError:
        pass  # may not see the feed: loading tells
    return tid


def _shown(tid: int) -> str:
    return datetime.fromtimestamp(tid_time(tid), UTC).isoformat(sep=" ", timespec="seconds")


def _neither(when: object) -> ConfigurationError:
    return ConfigurationError(
        f"{when!r} is no moment of a space: give a tid (an int, or its 16 hexadecimal digits), a datetime, "
        "a text like '2026-11-28T10:00', or Unix time in seconds as float"
    )
