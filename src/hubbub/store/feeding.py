"""Read the feed of a store piece by piece (ST1)."""

from __future__ import annotations

from hubbub.kernel import FeedGapError, tid_text
from hubbub.store.base import FeedEntry, Store

FEED_COMMITS = 256
"""So many commits a piece of the feed has at most."""

_MOST_OIDS = 100_000


def feed_piece(store: Store, after: int, end: int, most: int = FEED_COMMITS) -> list[FeedEntry]:
    """Return the commits above ``after`` and up to ``end``, in tid order, none left out: the first ones of them.

    Nothing comes back only where there is nothing.

    Args:
        store: Whose feed.
        after: A tid; 0 begins with the oldest commit that is kept.
        end: A tid up to which everything is durable.
        most: How many commits at most; fewer where they changed many objects.

    Raises:
        FeedGapError: If commits above ``after`` are not kept any more, or ``after`` is in the future.
        CorruptRecordError: If one is damaged (ST6).
    """
    if after and after < store.feed_floor:
        raise FeedGapError(
            f"the feed of this space begins behind tid {tid_text(store.feed_floor)} and no longer reaches back to "
            f"{tid_text(after)}: what came between is packed. Take in what there is now, and go on from there"
        )
    if after > max(end, store.last_tid):
        raise FeedGapError(
            f"tid {tid_text(after)} is in the future of this space, which ends at {tid_text(end)}: it is another "
            "one, or an older copy. Take in what there is now, and go on from there"
        )
    entries: list[FeedEntry] = []
    objects = 0
    for entry in store.feed(after):
        objects += len(entry.oids)
        if entry.tid > end or (entries and objects > _MOST_OIDS):
            break
        entries.append(entry)
        if len(entries) >= most:
            break
    return entries
