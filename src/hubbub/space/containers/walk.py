"""Walk a B-tree from its end, waking only the nodes on the way. `BTrees` walks forward only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def newest_items(tree: Any, before: Any = None) -> Iterator[tuple[Any, Any]]:
    """Yield (key, value) of ``tree`` from the last to the first.

    Args:
        tree: An OOBTree or a subclass. It must not be changed meanwhile.
        before: Only items before this key, itself left out; None for all.
    """
    state = tree.__getstate__()
    if state is None:
        return
    if len(state) == 1:
        yield from _bucket_items(state[0][0][0], before)
        return
    nodes = state[0]
    bucket = tree._bucket_type
    for index in range(len(nodes) - 1, -1, -2):
        # nodes[index - 1] is the smallest key that nodes[index] may have.
        if before is not None and index and not nodes[index - 1] < before:
            continue
        child = nodes[index]
        if type(child) is bucket:
            yield from _bucket_items(child.__getstate__()[0], before)
        else:
            yield from newest_items(child, before)


def _bucket_items(items: tuple[Any, ...], before: Any) -> Iterator[tuple[Any, Any]]:
    for index in range(len(items) - 2, -1, -2):
        key = items[index]
        if before is None or key < before:
            yield key, items[index + 1]
