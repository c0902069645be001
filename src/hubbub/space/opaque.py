"""References that can be moved but not looked into: what upgrade steps see of other objects (SP7)."""

from __future__ import annotations

from typing import Any, NoReturn

from hubbub.kernel import StoreError


class OpaqueReference:
    """Stands for a persistent object in an upgrade step. One object has one in each record.

    Attributes:
        oid: Of the object.
        class_name: Stored name of its class.
    """

    __slots__ = ("class_name", "oid")

    oid: int
    class_name: str

    def __init__(self, oid: int, class_name: str) -> None:
        object.__setattr__(self, "oid", oid)
        object.__setattr__(self, "class_name", class_name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self._refuse(f"read {name!r} of")

    def __setattr__(self, name: str, value: object) -> None:
        self._refuse(f"set {name!r} of")

    def _refuse(self, doing: str) -> NoReturn:
        raise StoreError(
            f"an upgrade step can't {doing} another object ({self.class_name}): it sees one record; "
            "what needs others belongs into a transaction"
        )

    def __repr__(self) -> str:
        return f"<reference to {self.class_name} {self.oid:#x}>"


class OpaqueReferences(dict[int, OpaqueReference]):
    """The references of one record: called with oid and class name it gives the same one for the same oid."""

    def __call__(self, oid: int, class_name: str) -> OpaqueReference:
        found = self.get(oid)
        if found is None:
            found = self[oid] = OpaqueReference(oid, class_name)
        return found
