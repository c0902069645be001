"""What containers have in common that are B-trees of `BTrees`, in C: maps, sets, typed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from BTrees.OOBTree import OOBTree

from hubbub.space import trees as _trees  # noqa: F401 - how their nodes are stored
from hubbub.space.classes import register
from hubbub.space.containers.attributes import check_attribute


class TreeMethods:
    """A B-tree whose nodes are records of their own.

    Two transactions that change different keys merge, also beside the split of a leaf where they only add; except when
    one of them empties a node or splits an inner one, or deletes from a leaf that the other has split.
    """

    __slots__ = ()

    # Big inner nodes would be rewritten whenever a bucket below them splits.
    max_leaf_size = 30
    max_internal_size = 60

    def __init_subclass__(
        cls, *, name: str | None = None, formerly: str | tuple[str, ...] = (), **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        if name is not None:
            cls.__hubbub_name__ = name  # type: ignore[attr-defined]
        register(cls, None, formerly)

    def __setattr__(self, name: str, value: Any) -> None:
        check_attribute(self, name, ())
        super().__setattr__(name, value)

    def _note(self, key: Any, value: Any) -> None:
        """Tell the connection before anything changes: it may refuse, and C would not undo."""
        jar: Any = self._p_jar  # type: ignore[attr-defined]
        if jar is not None:
            jar.note_change(self, key, value)

    def __repr__(self) -> str:
        oid = self._p_oid  # type: ignore[attr-defined]
        where = "new" if oid is None else f"{int.from_bytes(oid, 'big'):#x}"
        return f"<{type(self).__qualname__} {where}>"


class Tree(TreeMethods, OOBTree):
    """A mapping of any keys to any values."""

    __slots__ = ()

    # B-trees have operators of sets, on keys. Here they would look like those of dicts, and be none.
    if not TYPE_CHECKING:
        __or__ = __and__ = __sub__ = __xor__ = __ror__ = __rand__ = __rsub__ = __rxor__ = None
