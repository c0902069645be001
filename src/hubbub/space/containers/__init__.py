"""Containers: persistent collections, each stored so that change costs little and meets few others.

| class | like | stored as | two writers at once |
| --- | --- | --- | --- |
| `Map` | dict | a B-tree, one record for each 15 to 30 items | merge, if they change different keys |
| `SortedMap` | dict in the order of its keys | the same | the same |
| `Log` | list that only grows | a head and sealed chunks | merge, when both add |
| `List` | list | one record | conflict |
| `Set`, `SortedSet` | set | as the maps | merge, if they change different items |
| `IntMap`, `IntIntMap`, `IntSet` | of ints of 64 bits | the same | the same |
| `Collection` | dict with field indexes | a `Map`, a tree for each index | merge, if they change different members |
| `Counter` | int | one record | what both add is added up |
"""

from hubbub.space.containers.changes import CLEARED, DELETED, FIRST
from hubbub.space.containers.classmerge import merge_attributes
from hubbub.space.containers.collection import Collection
from hubbub.space.containers.counter import Counter
from hubbub.space.containers.fieldindex import FieldIndex
from hubbub.space.containers.list import List
from hubbub.space.containers.log import Log
from hubbub.space.containers.map import Map
from hubbub.space.containers.merge import NotPlainError, merge_plain_records, merge_records
from hubbub.space.containers.rebase import rebase
from hubbub.space.containers.sets import Set, SortedSet
from hubbub.space.containers.sortedmap import SortedMap
from hubbub.space.containers.typed import IntIntMap, IntMap, IntSet
from hubbub.space.containers.views import changes_as_patch, container_value, is_container

__all__ = [
    "CLEARED",
    "DELETED",
    "FIRST",
    "Collection",
    "Counter",
    "FieldIndex",
    "IntIntMap",
    "IntMap",
    "IntSet",
    "List",
    "Log",
    "Map",
    "NotPlainError",
    "Set",
    "SortedMap",
    "SortedSet",
    "changes_as_patch",
    "container_value",
    "is_container",
    "merge_attributes",
    "merge_plain_records",
    "merge_records",
    "rebase",
]
