"""Objects whose attributes collections index, and how a change of one is noticed.

Theory of operation
===================

An object does not know who looks it up by its attributes, unless it is told: a `Collection` writes into each member
where it is a member, as a weak reference. At commit, and before an index is read, the changed objects of these classes
are compared with what their collections have noted of them; whatever way an attribute was changed, it is seen there. Of
other classes no object is looked at, and a process that has none of these classes pays nothing.

    person.age = 31   --first change-->  among the connection's changed objects
    prepare, or people.index("age")  -->  refresh: note of the member  !=  its attributes  -->  index entries are moved
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hubbub.space.persistent import Persistent
from hubbub.space.weak import WeakRef

PLACES = "_hubbub_in"
"""The attribute of a member that says where it is one, or was: the collection, the key, how often it was put there."""

followed: set[type] = set()
"""Classes whose changed objects are looked at."""


class Indexed(Persistent):
    """A persistent object whose attributes a `Collection` may index: ``class Person(Indexed)``.

    Its indexes follow it within the transaction, however the attribute was changed, and whoever changed it. An
    attribute that says where it is a member is stored with it.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        followed.add(cls)


def places_of(obj: Any) -> tuple[tuple[WeakRef[Any], Any, int], ...]:
    """Return what the awake ``obj`` has as `PLACES`."""
    places: tuple[tuple[WeakRef[Any], Any, int], ...] = obj.__dict__.get(PLACES, ())
    return places


def refresh(changed: Mapping[int, Any]) -> None:
    """Let the indexes follow the objects of `followed` classes among ``changed``, which may grow by that.

    Raises:
        NotUniqueError, UnstorableError: As `Collection.refresh`.
    """
    if not followed or followed.isdisjoint(map(type, changed.values())):
        return
    found: dict[int, tuple[Any, list[tuple[Any, Any]]]] = {}
    for obj in list(changed.values()):
        if type(obj) in followed:
            for place, key, _ in places_of(obj):
                collection = place()
                if collection is not None:
                    found.setdefault(id(collection), (collection, []))[1].append((key, obj))
    for collection, members in found.values():
        collection.follow(members)
