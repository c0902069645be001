"""Containers: persistent collections, each with its cost and its merge written down."""

from __future__ import annotations

from typing import Any

from hubbub.space.containers.changes import CLEARED, DELETED, FIRST
from hubbub.space.containers.list import List
from hubbub.space.containers.log import Log
from hubbub.space.containers.map import Map
from hubbub.space.containers.sortedmap import SortedMap


def is_container(value: Any) -> bool:
    return isinstance(value, (SortedMap, Map, Log))


def container_value(value: Any) -> Any:
    return list(value) if isinstance(value, Log) else dict(value.items())


def changes_as_patch(changes: Any) -> Any:
    return None


def merge_records(old: Any, committed: Any, new: Any) -> Any:
    return "not there yet"
