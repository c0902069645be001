"""Collection: a mapping whose members are found by their attributes, too.

Theory of operation
===================

    _rows     key  ->  Row(member, what is noted of it: its indexed attributes as the indexes have them)
    _specs    for each index its attributes and its entries: value, key  ->  (value, key)

A change goes through `_move`: it compares notes with attributes, checks that unique values stay so, and only then
writes. A row is written whenever a noted attribute changes, so two transactions that change one member's attributes
meet in its row and conflict there, however the member's own class merges.

Who adds or changes members relies on the collection's own record (`readCurrent`), which changes only with the set of
indexes. Who adds or rebuilds an index relies on all rows and all members, and puts a new tree in the place of the rows.
So of a change and a new index one conflicts, whichever comes first (SP6).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Generic, TypeVar

from hubbub.kernel import NotUniqueError, UnstorableError
from hubbub.space.containers.attributes import check_attribute, note_assignment
from hubbub.space.containers.fieldindex import Entries, FieldIndex, Spec
from hubbub.space.containers.keys import key_bytes
from hubbub.space.containers.map import Map
from hubbub.space.containers.noting import (
    Change,
    Row,
    check_member,
    form_of,
    moved_entries,
    noted_of,
)
from hubbub.space.containers.walk import nodes_of
from hubbub.space.indexed import PLACES, Indexed, places_of
from hubbub.space.persistent import Persistent
from hubbub.space.states import attributes_codec, use_codec
from hubbub.space.weak import WeakRef
from hubbub.space.writing import Encoded, RefOf

K = TypeVar("K")
V = TypeVar("V")

Fields = str | tuple[str, ...]

_absent: Any = object()
_FIELDS = ("_rows", "_specs")


class Collection(Persistent, Generic[K, V], name="hubbub.Collection"):
    """A mapping of keys to members that are found by their attributes, too.

        people = Collection(indexes=["age", ("city", "age")], unique=["email"])
        people["ann"] = Person("ann", 31)           # class Person(Indexed)
        people.index("age").find(31)

    Members are objects of classes derived from `Indexed`, or frozen values (structs, dataclasses, named tuples). The
    indexes follow within the same transaction: when members are added or removed, and when an attribute of one is
    changed, by whomever and wherever. A member without the attribute, or where it is None, is not in that index. An
    index of several attributes has tuples of their values.

    Cost: as a `Map`, and for each index that a change touches one bucket of at most 30 entries more. Adding an object
    writes the object, too: it learns where it is a member. ``len()`` touches all buckets.

    Two transactions merge if they change different members; except where a `Map` would not, in one of the trees. If
    both add a member with the same unique value they conflict, and whoever tries again gets `NotUniqueError`.

    Args:
        source: First members: a mapping or pairs.
        indexes: Attributes to index; a tuple of names for an index of several.
        unique: The same, where no two members may have the same value.
    """

    _rows: Map[K, Row]
    _specs: tuple[Spec, ...]

    def __init__(
        self,
        source: Mapping[K, V] | Iterable[tuple[K, V]] = (),
        *,
        indexes: Iterable[Fields] = (),
        unique: Iterable[Fields] = (),
    ) -> None:
        self._rows = Map()
        self._specs = ()
        for fields in indexes:
            self.add_index(fields)
        for fields in unique:
            self.add_index(fields, unique=True)
        self.update(source)

    def __setattr__(self, name: str, value: Any) -> None:
        check_attribute(self, name, _FIELDS)
        super().__setattr__(name, value)

    # --- as a mapping -------------------------------------------------------------------------------------------------

    def __getitem__(self, key: K) -> V:
        member: V = self._rows[key].member
        return member

    def get(self, key: K, default: Any = None) -> Any:
        """Return the member at ``key``, or ``default``."""
        row = self._rows.get(key)
        return default if row is None else row.member

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __setitem__(self, key: K, member: V) -> None:
        """Put ``member`` at ``key``.

        Raises:
            NotUniqueError: If another member has a value that must be unique. Nothing has changed.
            UnstorableError: If an indexed attribute can't be in an index. Nothing has changed.
            TypeError: If ``member`` is neither `Indexed` nor frozen. Nothing has changed.
        """
        check_member(member)
        self._check_jar(member)
        self._rely()
        change = (key, self._rows.get(key), Row(member, self._noted(member)))
        try:
            self._move([change])
        except NotUniqueError:
            # Whoever has the value may have changed since it was noted.
            self.refresh()
            self._move([(key, self._rows.get(key), change[2])])
        if isinstance(member, Indexed):
            if change[1] is None or change[1].member is not member:
                self._tell(member, key)
            if self._p_jar is not None:
                # Of an object that has no oid the connection would not hear that it changes.
                self._p_jar.add(member)

    def __delitem__(self, key: K) -> None:
        row = self._rows.get(key)
        if row is None:
            raise KeyError(key)
        self._rely()
        self._move([(key, row, None)])

    def setdefault(self, key: K, member: V) -> V:
        """Return the member at ``key``; ``member`` is put there first if there is none. Raises as ``[key] =``."""
        if key not in self:
            self[key] = member
        return self[key]

    def pop(self, key: K, default: Any = _absent) -> Any:
        """Remove the member at ``key`` and return it. Raises `KeyError` if there is none, and no ``default``."""
        member = self.get(key, _absent)
        if member is not _absent:
            del self[key]
        elif default is _absent:
            raise KeyError(key)
        else:
            member = default
        return member

    def popitem(self) -> tuple[K, V]:
        """Remove the last item in the order of keys and return it. Raises `KeyError` if there is none."""
        for key in reversed(self._rows):
            return key, self.pop(key)
        raise KeyError(f"{type(self).__qualname__} is empty")

    def update(self, source: Mapping[K, V] | Iterable[tuple[K, V]] = ()) -> None:
        """Put all items of a mapping or of pairs. Raises as ``[key] =``; those before are put then."""
        pairs: Any = source.items() if hasattr(source, "items") else source
        for key, member in pairs:
            self[key] = member

    def __ior__(self, other: Any) -> Collection[K, V]:
        self.update(other)
        note_assignment(self)
        return self

    def clear(self) -> None:
        """Remove all members."""
        self._rely()
        self._rows.clear()
        for spec in self._specs:
            spec.entries.clear()

    def __len__(self) -> int:
        return len(self._rows)

    def __bool__(self) -> bool:
        return bool(self._rows)

    def __iter__(self) -> Iterator[K]:
        return iter(self._rows)

    def __reversed__(self) -> Iterator[K]:
        keys: Iterator[K] = reversed(self._rows)
        return keys

    def keys(self) -> Any:
        """Return the keys in order, lazily."""
        return self._rows.keys()

    def values(self) -> Iterator[V]:
        """Yield the members in the order of their keys."""
        return (row.member for row in self._rows.values())

    def items(self) -> Iterator[tuple[K, V]]:
        """Yield (key, member) in the order of keys."""
        return ((key, row.member) for key, row in self._rows.items())

    # --- indexes ------------------------------------------------------------------------------------------------------

    @property
    def indexes(self) -> tuple[Fields, ...]:
        """The names of its indexes, in the order in which they were added."""
        return tuple(spec.name for spec in self._specs)

    def index(self, *fields: str) -> FieldIndex[K, V]:
        """Return the index of an attribute, or of several: ``index("age")``, ``index("city", "age")``.

        Raises:
            LookupError: If there is none; says which there are.
        """
        for spec in self._specs:
            if spec.fields == fields:
                return FieldIndex(spec, self.__getitem__, self.refresh)
        known = ", ".join(map(repr, self.indexes)) or "none"
        raise LookupError(
            f"there is no index of {', '.join(map(repr, fields))}; there is {known}. add_index() adds one"
        )

    def find(self, **values: Any) -> list[V]:
        """Return the members that have all these values: ``find(city="Rome", age=31)``. Each attribute has an index.

        The index of the first attribute is searched; of what is found there, the others are compared.

        Raises:
            LookupError: If an attribute has no index of its own.
        """
        first, *others = [(self.index(field), field, value) for field, value in values.items()]
        found = []
        for key in first[0].keys(first[2], first[2]):
            row = self._rows[key]
            noted = dict(row.noted)
            if all(noted.get(field) == value for _, field, value in others):
                found.append(row.member)
        return found

    def add_index(self, fields: Fields, *, unique: bool = False) -> None:
        """Begin to index an attribute, or several together. Reads and writes all that is here.

        It conflicts with every transaction that changes a member at the same time: in a space where much is written do
        it in a command of the host.

        Raises:
            NotUniqueError: If ``unique``, and two members have the same value. Nothing has changed.
            UnstorableError: If a member's value can't be in an index. Nothing has changed.
            ValueError: If there is such an index.
        """
        names: tuple[Any, ...] = (fields,) if isinstance(fields, str) else tuple(fields)
        if not names or not all(isinstance(name, str) and name.isidentifier() for name in names):
            raise ValueError(f"{fields!r} is no name of an attribute, nor a tuple of some")
        if any(spec.fields == names for spec in self._specs):
            raise ValueError(f"there is an index of {fields!r} already")
        self._build((*self._specs, Spec(names, unique, Entries())))

    def drop_index(self, *fields: str) -> None:
        """Give up the index of an attribute, or of several. Raises as `index`, and conflicts as `add_index`."""
        self.index(*fields)
        self._build(tuple(spec for spec in self._specs if spec.fields != fields))

    def rebuild(self) -> None:
        """Make all indexes anew. Reads and writes all that is here; raises and conflicts as `add_index`.

        For what happens behind their back: a class whose attribute gets another default, or an upgrade step that
        changes an attribute (SP7).
        """
        self._build(self._specs)

    def refresh(self) -> None:
        """Let the indexes follow what has changed in this transaction so far. Reading an index does so, and the commit.

        Call it to learn here whether a change is refused.

        Raises:
            NotUniqueError: Naming the value and both members. The indexes are as they were.
            UnstorableError: If an indexed attribute can't be in an index. The indexes are as they were.
        """
        self._p_activate()
        jar = self._p_jar
        if jar is None or self._is_new():
            # Its members may be new, too: of their changes nobody has been told.
            self.follow([(key, row.member) for key, row in self._rows.items()])
        else:
            jar.refresh_indexes()

    def check(self) -> list[str]:
        """Return what is wrong with the indexes, in words; nothing is, unless it came behind their back. Reads all."""
        self.refresh()
        found = []
        for key, row in self._rows.items():
            if form_of(row.noted) != form_of(self._noted(row.member)):
                found.append(f"{key!r} has other attributes than are noted: rebuild() mends it")
        for spec in self._specs:
            wanted: dict[bytes, Any] = {}
            for key, row in self._rows.items():
                value = spec.value_in(dict(row.noted))
                if value is not None:
                    wanted[spec.entry_key(value, key_bytes(key))] = (value, key)
            if dict(Entries.items(spec.entries)) != wanted:
                found.append(f"the index of {spec.name!r} has other entries: rebuild() mends it")
        return found

    # --- how they follow ----------------------------------------------------------------------------------------------

    def follow(self, members: Iterable[tuple[K, Any]]) -> None:
        """Compare ``members``, each with its key, with what is noted of them. Raises as `refresh`."""
        changes: list[Change] = []
        for key, member in members:
            row = self._rows.get(key)
            if row is not None and row.member is member:
                self._rely()
                noted = self._noted(member)
                if form_of(noted) != form_of(row.noted):
                    changes.append((key, row, Row(member, noted)))
        if changes:
            self._move(changes)

    def _is_new(self) -> bool:
        return self._p_jar is None or not int.from_bytes(self._p_serial, "big")

    def _check_jar(self, member: Any) -> None:
        jar = self._p_jar
        if jar is not None and getattr(member, "_p_jar", None) not in (None, jar):
            raise UnstorableError(
                repr(member), "belongs to another connection; fetch it again in this transaction"
            )

    def _rely(self) -> None:
        jar = self._p_jar
        if jar is not None:
            self._p_activate()
            jar.readCurrent(self)

    def _noted(self, member: Any) -> tuple[tuple[str, Any], ...]:
        return noted_of(member, self._specs)

    def _tell(self, member: Any, key: K) -> None:
        """Write into ``member`` that it is one, so that it is noticed when it changes.

        It is written also where it was a member before: who changes it now has not seen that it is one again, and meets
        this transaction in its record (SP6).
        """
        member._p_activate()
        data = key_bytes(key)
        count = 0
        places = []
        for place in places_of(member):
            if place[0].target is self and key_bytes(place[1]) == data:
                count = place[2] + 1
            else:
                places.append(place)
        setattr(member, PLACES, (*places, (WeakRef(self), key, count)))

    def _move(self, changes: list[Change]) -> None:
        """Write rows and entries. Raises `NotUniqueError` before anything has changed."""
        name = type(self).__qualname__
        plan = [(spec, *moved_entries(name, spec, changes)) for spec in self._specs]
        for key, _, after in changes:
            if after is None:
                del self._rows[key]
            else:
                self._rows[key] = after
        for spec, gone, come in plan:
            for entry in gone.keys() - come.keys():
                Entries.__delitem__(spec.entries, entry)
            for entry, held in come.items():
                Entries.__setitem__(spec.entries, entry, held)

    def _build(self, specs: tuple[Spec, ...]) -> None:
        """Make all rows and indexes anew, for ``specs``."""
        self._rely_on_all()
        made = Collection.__new__(type(self))
        made._rows = Map()
        made._specs = tuple(spec._replace(entries=Entries()) for spec in specs)
        changes: list[Change] = []
        for key, row in self._rows.items():
            changes.append((key, None, Row(row.member, made._noted(row.member))))
        # All at once, so that what is not unique is found before anything is written.
        made._move(changes)
        self._rows, self._specs = made._rows, made._specs

    def _rely_on_all(self) -> None:
        jar = self._p_jar
        if jar is None:
            return
        for node in nodes_of(self._rows):
            if node._p_jar is jar:
                jar.readCurrent(node)
        for row in self._rows.values():
            member = row.member
            if isinstance(member, Indexed):
                member._p_activate()
                if member._p_jar is jar:
                    jar.readCurrent(member)


class _CollectionCodec:
    """The attributes of a collection; before they are written for the first time its indexes follow its members."""

    def __init__(self) -> None:
        self._attributes = attributes_codec(Collection)
        self.fill = self._attributes.fill

    def encode(self, obj: Collection[Any, Any], ref_of: RefOf) -> Encoded:
        if obj._is_new():
            obj.refresh()
        return self._attributes.encode(obj, ref_of)


use_codec(Collection, _CollectionCodec())
MutableMapping.register(Collection)
