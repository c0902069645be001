"""Containers as answers of views: their plain value, and a commit's changes as a patch to it (LV3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hubbub.space.containers.changes import CLEARED, DELETED, FIRST
from hubbub.space.containers.list import List
from hubbub.space.containers.log import Log
from hubbub.space.containers.sets import SetMethods
from hubbub.space.containers.tree import TreeMethods

Patch = list[list[Any]]
"""Operations of `hubbub.wire.patch`: ``["k", key, value]``, ``["d", key]``, ``["s", start, delete_count, items]``."""


def is_container(value: Any) -> bool:
    """Tell whether a view may return ``value`` itself, and have its changes sent."""
    return isinstance(value, (TreeMethods, Log, List))


def container_value(value: Any) -> dict[Any, Any] | list[Any]:
    """Return the plain value of a container: a dict of a mapping; a list of a set, log or list."""
    is_mapping = isinstance(value, TreeMethods) and not isinstance(value, SetMethods)
    return dict(value.items()) if is_mapping else list(value)


def changes_as_patch(changes: Iterable[Mapping[Any, Any]]) -> Patch | None:
    """Return the patch that brings a container's plain value from before some commits to after them.

    Args:
        changes: What each commit noted for the container, in order.

    Returns:
        The operations, or None if they can't be told: the container was cleared or trimmed.
    """
    patch: Patch = []
    for noted in changes:
        if CLEARED in noted:
            return None
        first = noted.get(FIRST)
        if first is None:
            for key, value in noted.items():
                if value is DELETED:
                    # It may have come and gone in one transaction: set first, it is there to be deleted.
                    patch += (["k", key, None], ["d", key])
                else:
                    patch.append(["k", key, value])
        else:
            # A log: the rest are positions, in order, without a hole.
            positions = [key for key in noted if key is not FIRST]
            items = [noted[key] for key in positions]
            patch.append(["s", positions[0] - first, 0, items])
    return patch
