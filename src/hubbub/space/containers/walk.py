"""Walk a B-tree from its end, waking only the nodes on the way. `BTrees` walks forward only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def newest_items(tree: Any, before: Any = None) -> Iterator[tuple[Any, Any]]:
    """Yield (key, value) of ``tree`` from the last to the first.

    Args:
        tree: A B-tree with values. It must not be changed meanwhile.
        before: Only items before this key, itself left out; None for all.
    """
    yield from _newest(tree, before, 2)


def newest_keys(tree: Any, before: Any = None) -> Iterator[Any]:
    """As `newest_items`, the keys of a tree without values."""
    return (key for key, _ in _newest(tree, before, 1))


def _newest(tree: Any, before: Any, step: int) -> Iterator[tuple[Any, Any]]:
    state = tree.__getstate__()
    if state is None:
        return
    if len(state) == 1:
        yield from _bucket_items(state[0][0][0], before, step)
        return
    nodes = state[0]
    bucket = tree._bucket_type
    for index in range(len(nodes) - 1, -1, -2):
        # nodes[index - 1] is the smallest key that nodes[index] may have.
        if before is not None and index and not nodes[index - 1] < before:
            continue
        child = nodes[index]
        if type(child) is bucket:
            yield from _bucket_items(child.__getstate__()[0], before, step)
        else:
            yield from _newest(child, before, step)


def _bucket_items(items: tuple[Any, ...], before: Any, step: int) -> Iterator[tuple[Any, Any]]:
    for index in range(len(items) - step, -1, -step):
        key = items[index]
        if before is None or key < before:
            yield key, items[index + step - 1]


def nodes_of(tree: Any) -> Iterator[Any]:
    """Yield all nodes of ``tree``, itself included. Wakes them."""
    yield tree
    state = tree.__getstate__()
    if state is not None and len(state) == 2:
        bucket = tree._bucket_type
        for child in state[0][::2]:
            if type(child) is bucket:
                child._p_activate()
                yield child
            else:
                yield from nodes_of(child)
