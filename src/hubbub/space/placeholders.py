"""Objects whose class is not known here: kept, served, readable, written back unchanged (SP3)."""

from __future__ import annotations

from typing import Any, ClassVar

import persistent

from hubbub.kernel import UnknownClassError

_classes: dict[str, type[UnknownObject]] = {}


class UnknownObject(persistent.Persistent):
    """Stands for an object whose class this process does not know.

    Its attributes can be read. Whatever else is asked of it, and any change, raises `UnknownClassError`.
    """

    hubbub_class: ClassVar[str] = "?"

    def hubbub_record(self) -> tuple[bytes, tuple[int, ...], dict[str, Any] | None]:
        """Return its payload, the oids that it refers to, and its attributes, if it has any."""
        self._p_activate()
        record: tuple[bytes, tuple[int, ...], dict[str, Any] | None]
        record = self.__dict__["_hubbub_record"]
        return record

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("__", "_p_", "_v_", "_hubbub_")):
            raise AttributeError(name)
        state = self.hubbub_record()[2]
        if state is None or name not in state:
            raise UnknownClassError(self.hubbub_class, f"use {name!r}")
        return state[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith(("_p_", "_v_")):
            raise UnknownClassError(self.hubbub_class, f"set {name!r}")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if not name.startswith(("_p_", "_v_")):
            raise UnknownClassError(self.hubbub_class, f"delete {name!r}")
        super().__delattr__(name)

    def __repr__(self) -> str:
        return f"<object of unknown class {self.hubbub_class}>"

    def _unknown(self, *args: object) -> Any:
        raise UnknownClassError(self.hubbub_class, "use it so")

    # What syntax calls is looked up in the class, past `__getattr__`.
    __len__ = __iter__ = __contains__ = __getitem__ = __setitem__ = __delitem__ = __call__ = (
        _unknown
    )

    def __bool__(self) -> bool:
        return True


def placeholder_class(name: str) -> type[UnknownObject]:
    """Return the class that stands for the unknown class stored as ``name``; always the same one."""
    cls = _classes.get(name)
    if cls is None:
        cls = type(
            name.rpartition(":")[2].rpartition(".")[2].replace("\0", "?") or "Unknown",
            (UnknownObject,),
            # Its stored name is that of the class it stands for: so are its record and references to it.
            {"__hubbub_name__": name, "hubbub_class": name, "__doc__": UnknownObject.__doc__},
        )
        _classes[name] = cls
    return cls
