"""What differs between two moments of a space, object by object, without their classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from hubbub.backup.source import commits_above
from hubbub.cli import objects
from hubbub.kernel import CorruptRecordError, Record
from hubbub.mount import Space
from hubbub.space.containers.keys import plain_key
from hubbub.space.placeholders import placeholder_class
from hubbub.space.reading import Reader, read
from hubbub.space.trees import split_parts

_PIECE = 500
_MAPPINGS = ("Map", "Root", "Bucket", "BTree", "Counter")


class Change(msgspec.Struct, frozen=True):
    """How one object differs.

    Attributes:
        oid: Which object.
        class_name: Its class.
        sign: ``+`` new, ``-`` gone, ``~`` changed.
        lines: Name, value before, value after; None where there is none.
    """

    oid: int
    class_name: str
    sign: str
    lines: list[tuple[str, str | None, str | None]]

    def as_json(self) -> dict[str, Any]:
        """Return it in a form that JSON has."""
        kind = {"+": "new", "-": "gone"}.get(self.sign, "changed")
        changes = [{"name": n, "before": b, "after": a} for n, b, a in self.lines]
        return {"oid": f"{self.oid:#x}", "class": self.class_name, "kind": kind, "changes": changes}


def compared(space: Space, first: int, last: int, only: int | None = None) -> Iterator[Change]:
    """Yield how the objects differ between two tids, in the order in which they were first changed.

    Args:
        space: The space.
        first: The earlier tid.
        last: The later one.
        only: Look at this object only.
    """
    mount = space._mount
    met: dict[int, None] = {}
    position = first
    while found := commits_above(mount, position, last) if position < last else []:
        for commit in found:
            for record in commit.records:
                if only is None or record.oid == only:
                    met[record.oid] = None
        position = found[-1].tid
    oids = list(met)
    for start in range(0, len(oids), _PIECE):
        piece = oids[start : start + _PIECE]
        before = {record.oid: record for record in mount.upkeep.load_many(piece, first)}
        after = {record.oid: record for record in mount.upkeep.load_many(piece, last)}
        for oid in piece:
            change = _change(oid, before.get(oid), after.get(oid))
            if change is not None:
                yield change


def _change(oid: int, before: Record | None, after: Record | None) -> Change | None:
    if before is None or after is None:
        one = before or after
        if one is None:
            return None  # made and gone in between
        parts = contents_of(one)
        if before is None:
            return Change(oid, one.class_name, "+", [(n, None, v) for n, v in parts.items()])
        return Change(oid, one.class_name, "-", [(n, v, None) for n, v in parts.items()])
    if before.payload == after.payload:
        return None
    old, new = contents_of(before), contents_of(after)
    names = [*old, *(name for name in new if name not in old)]
    lines = [(n, old.get(n), new.get(n)) for n in names if old.get(n) != new.get(n)]
    return Change(oid, after.class_name, "~", lines)


def contents_of(record: Record) -> dict[str, str]:
    """Return what a record holds, as text by name: attributes, keys or positions."""

    def stand_in(oid: int, name: str) -> Any:
        made = placeholder_class(name)()
        made._p_oid = oid.to_bytes(8, "big")
        return made

    try:
        found: dict[str, str] = read(lambda r: _contents(r, record), stand_in).value
    except CorruptRecordError:
        return {"(payload)": f"<{len(record.payload):,} bytes that can't be shown>"}
    return found


def _contents(reader: Reader, record: Record) -> dict[str, str]:
    payload = record.payload
    if not (0x90 <= payload[0] <= 0x9F or payload[0] in (0xDC, 0xDD)):
        state = reader.state_as_stored(payload)
        return {name: objects.shown(value) for name, value in state.items()}
    parts = split_parts(payload)
    if not parts:
        return {}
    if record.class_name == "hubbub.LogNode":
        return {"(parts)": f"{len(parts)}"}
    if record.class_name == "hubbub.LogChunk" and len(parts) == 2:
        return {f"+{n}": objects.shown(item) for n, item in enumerate(reader.value(parts[1]))}
    if len(parts) == 4 and record.class_name.endswith("Log"):
        return {"(length)": f"{reader.value(parts[2]) - reader.value(parts[1])}"}
    items = reader.value(parts[0])
    if len(parts) <= 2 and isinstance(items, list) and record.class_name.endswith(_MAPPINGS):
        pairs = zip(items[::2], items[1::2], strict=True)
        return {_key_text(key): objects.shown(value) for key, value in pairs}
    if len(parts) == 1 and isinstance(items, list):
        return {str(number): objects.shown(item) for number, item in enumerate(items)}
    return {f"({n})": objects.shown(reader.value(part)) for n, part in enumerate(parts)}


def _key_text(key: Any) -> str:
    if isinstance(key, bytes) and key:
        try:
            return repr(plain_key(key))
        except LookupError:
            pass
    return objects.shown(key)
