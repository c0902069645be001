"""STAND-IN, to be replaced."""
from __future__ import annotations
from typing import Any, Generic, TypeVar
from BTrees.OOBTree import OOBTree
from hubbub.space.persistent import Persistent
from hubbub.space import classes
K = TypeVar("K"); V = TypeVar("V")

class SortedMap(OOBTree):
    _hubbub_ephemeral = False
    def __class_getitem__(cls, item: Any) -> Any: return cls
    def setdefault(self, k, v):
        if k not in self: self[k] = v
        return self[k]
class Map(SortedMap):
    def __init__(self, *a: Any, **kw: Any) -> None:
        super().__init__()
        for k, v in dict(*a, **kw).items(): self[k] = v
for _c in (SortedMap, Map): classes.register(_c)
class List(Persistent): pass
class Log(Persistent, Generic[V]):
    def __init__(self) -> None: self.items: tuple = ()
    def append(self, x: Any) -> None: self.items = (*self.items, x)
    def last(self, n: int) -> list: return list(self.items[-n:])
    def since(self, n: int): return list(self.items[n:]), len(self.items)
    def __len__(self): return len(self.items)
def is_container(v: Any) -> bool: return isinstance(v, (SortedMap, Map))
def container_value(v: Any) -> Any: return dict(v.items())
def changes_as_patch(changes: Any) -> Any: return None
def merge_records(old: Any, committed: Any, new: Any) -> Any: return "stand-in"
