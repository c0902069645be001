"""List: what `list` is, shared, in one record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableSequence
from typing import Any, Generic, SupportsIndex, TypeVar

from hubbub.kernel import Record, UnstorableError
from hubbub.space.blame import Refusal
from hubbub.space.containers.attributes import check_attribute, note_assignment
from hubbub.space.persistent import Persistent
from hubbub.space.reading import ObjectOf, read
from hubbub.space.states import UNSHAREABLE, use_codec
from hubbub.space.trees import split_parts
from hubbub.space.writing import Encoded, RefOf, encode_value, encode_with

T = TypeVar("T")


class List(Persistent, Generic[T], name="hubbub.List"):
    """A list whose changes are seen: ``room.tags.append("x")``.

    Cost: it is one record. Every change writes all of it, and two transactions that change it at the same time
    conflict. Good for up to some hundred items; `Log` is for what only grows, `SortedMap` for much.

    Like every persistent object it equals only itself; compare ``list(a)`` to compare contents.
    """

    _items: list[T]

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._items = list(items)

    def __setattr__(self, name: str, value: Any) -> None:
        check_attribute(self, name, ("_items",))
        super().__setattr__(name, value)

    def _changing(self) -> list[T]:
        """Return the items to be changed. The connection is told first: it may refuse."""
        self._p_activate()
        self._p_changed = True
        return self._items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        return self._items[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._changing()[index] = value

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        del self._changing()[index]

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __reversed__(self) -> Iterator[T]:
        return reversed(self._items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __iadd__(self, items: Iterable[T]) -> List[T]:
        self.extend(items)
        note_assignment(self)
        return self

    def append(self, item: T) -> None:
        """Add ``item`` at the end."""
        self._changing().append(item)

    def extend(self, items: Iterable[T]) -> None:
        """Add ``items`` at the end."""
        self._changing().extend(list(items))

    def insert(self, index: SupportsIndex, item: T) -> None:
        """Add ``item`` before ``index``."""
        self._changing().insert(index, item)

    def pop(self, index: SupportsIndex = -1) -> T:
        """Remove the item at ``index`` and return it."""
        return self._changing().pop(index)

    def remove(self, item: T) -> None:
        """Remove the first item that equals ``item``. Raises `ValueError` if there is none."""
        del self[self._items.index(item)]

    def clear(self) -> None:
        """Remove everything."""
        self._changing().clear()

    def index(self, item: T, *bounds: int) -> int:
        """Return the first place of ``item``. Raises `ValueError` if there is none."""
        return self._items.index(item, *bounds)

    def count(self, item: T) -> int:
        """Return how often ``item`` occurs."""
        return self._items.count(item)

    def reverse(self) -> None:
        """Turn the order around."""
        self._changing().reverse()

    def sort(self, *, key: Callable[[T], Any] | None = None, reverse: bool = False) -> None:
        """Sort in place, as `list.sort`. If comparing fails nothing has changed."""
        self._changing()[:] = sorted(self._items, key=key, reverse=reverse)  # type: ignore[type-var,arg-type]

    def copy(self) -> list[T]:
        """Return a plain list of the items."""
        return self._items.copy()


class _ListCodec:
    """Payload: ``[items]``. Memo: a tuple of items."""

    def encode(self, obj: List[Any], ref_of: RefOf) -> Encoded:
        obj._p_activate()
        items = obj._items
        try:
            return encode_with(lambda writer: [writer.nested(items)], ref_of)
        except (Refusal, UnstorableError) as error:
            for index, item in enumerate(items):
                encode_value(item, ref_of, f"{type(obj).__qualname__}[{index}]")
            raise UnstorableError(type(obj).__qualname__, str(error)) from None

    def fill(self, obj: List[Any], record: Record, object_of: ObjectOf) -> bool:
        memo = record.memo
        has_mutable = False
        if memo is None or memo is UNSHAREABLE:
            decoded = read(
                lambda reader: reader.read_tuple(split_parts(record.payload)[0]), object_of
            )
            memo = decoded.value
            has_mutable = decoded.has_mutable
            record.memo = memo if decoded.is_shareable else UNSHAREABLE
        obj.__setstate__({"_items": list(memo)})
        return has_mutable


use_codec(List, _ListCodec())
MutableSequence.register(List)
